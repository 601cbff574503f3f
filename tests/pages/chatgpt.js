import { converse, events, turn } from "./conversation.js";

const post = (path, body) =>
  fetch(path, {
    method: "POST",
    headers: { "content-type": "application/json", accept: "text/event-stream" },
    body: JSON.stringify(body),
  });

converse(async (prompt) => {
  const message = {
    id: crypto.randomUUID(),
    author: { role: "user" },
    create_time: Date.now() / 1000,
    content: { content_type: "text", parts: [prompt] },
    metadata: {},
  };
  const about = {
    action: "next",
    parent_message_id: "client-created-root",
    model: "auto",
    timezone_offset_min: -120,
    timezone: "Europe/Berlin",
    conversation_mode: { kind: "primary_assistant" },
    supports_buffering: true,
  };
  // What is typed goes ahead of the conversation; the page does without an answer to it.
  await post("/backend-api/f/conversation/prepare", {
    ...about,
    partial_query: { id: message.id, author: message.author, content: message.content },
  });
  const response = await post("/backend-api/f/conversation", { ...about, messages: [message] });
  if (!response.ok) {
    const { detail } = await response.json();
    turn("error", detail?.message ?? detail);
    return;
  }
  const answer = turn("assistant", "");
  let path = "";
  for await (const event of events(response)) {
    // A whole message in the older form, or in `v`; otherwise a piece at the path that was named last.
    const whole = event.message ?? event.v?.message;
    if (whole?.author?.role === "assistant") answer.textContent = whole.content.parts.join("");
    path = event.p ?? path;
    if (typeof event.v === "string" && path === "/message/content/parts/0") answer.textContent += event.v;
  }
});
