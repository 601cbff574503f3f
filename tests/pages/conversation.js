// What both mock pages do: show the turns, and read a reply's events as they come.

const turns = document.getElementById("turns");

export function turn(kind, text) {
  const element = document.createElement("div");
  element.className = kind;
  element.textContent = text;
  turns.append(element);
  return element;
}

// The data of each event of a streamed reply, as JSON; `[DONE]` ends it.
export async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split(/\r?\n\r?\n/);
    rest = blocks.pop();
    for (const block of blocks) {
      const lines = block.split(/\r?\n/).filter((line) => line.startsWith("data:"));
      const data = lines.map((line) => line.slice(5).trimStart()).join("\n");
      if (data === "[DONE]") return;
      if (data) yield JSON.parse(data);
    }
  }
}

// Calls `send(prompt)` when the form is sent, and marks the page when the turn is over.
export function converse(send) {
  document.getElementById("composer").addEventListener("submit", async (event) => {
    event.preventDefault();
    const field = document.getElementById("prompt");
    const prompt = field.value;
    field.value = "";
    document.body.dataset.turn = "open";
    turn("user", prompt);
    try {
      await send(prompt);
    } catch (error) {
      turn("error", `Something went wrong: ${error}`);
    }
    document.body.dataset.turn = "over";
  });
  document.body.dataset.ready = "yes";
}
