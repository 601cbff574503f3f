import { converse, events, turn } from "./conversation.js";

const conversation = `/api/organizations/${crypto.randomUUID()}/chat_conversations/${crypto.randomUUID()}`;

converse(async (prompt) => {
  const response = await fetch(`${conversation}/completion`, {
    method: "POST",
    headers: { "content-type": "application/json", accept: "text/event-stream" },
    body: JSON.stringify({
      prompt,
      parent_message_uuid: "00000000-0000-4000-8000-000000000000",
      timezone: "Europe/Berlin",
      personalized_styles: [{ type: "default", key: "Default", name: "Normal", prompt: "Normal" }],
      locale: "en-US",
      tools: [{ type: "web_search_v0", name: "web_search" }],
      attachments: [],
      files: [],
      sync_sources: [],
      rendering_mode: "messages",
    }),
  });
  if (!response.ok) {
    const { error } = await response.json();
    turn("error", error.message);
    return;
  }
  const answer = turn("assistant", "");
  for await (const event of events(response)) {
    if (event.type === "content_block_delta") answer.textContent += event.delta.text ?? "";
    if (event.type === "error") turn("error", event.error.message);
  }
});
