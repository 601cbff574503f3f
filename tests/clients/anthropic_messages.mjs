// Streams one answer by the `@anthropic-ai/sdk` package of npm: anthropic_messages.mjs MODEL PROMPT.
// Prints the text as it comes. An error is printed once, on standard error, and ends it with code 3.
import { createRequire } from "node:module";

const load = createRequire(process.env.CLIENT_PACKAGES);
const Anthropic = load("@anthropic-ai/sdk");
const { EnvHttpProxyAgent, fetch } = load("undici");

const [model, prompt] = process.argv.slice(2);
// Node's own fetch reads no proxy variables; undici's agent does.
const options = process.env.HTTPS_PROXY
  ? { fetch, fetchOptions: { dispatcher: new EnvHttpProxyAgent() } }
  : {};
const client = new Anthropic(options);
try {
  const stream = client.messages.stream({
    model,
    max_tokens: 24,
    messages: [{ role: "user", content: prompt }],
  });
  for await (const event of stream) {
    if (event.type === "content_block_delta") process.stdout.write(event.delta.text ?? "");
  }
  process.stdout.write("\n");
} catch (error) {
  if (!(error instanceof Anthropic.APIError)) throw error;
  console.error(`error ${error.status}: ${error.message}`);
  process.exitCode = 3;
}
