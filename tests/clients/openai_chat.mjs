// Streams one answer by the `openai` package of npm: openai_chat.mjs MODEL PROMPT.
// Prints the text as it comes. An error is printed once, on standard error, and ends it with code 3.
import { createRequire } from "node:module";

const load = createRequire(process.env.CLIENT_PACKAGES);
const OpenAI = load("openai");
const { EnvHttpProxyAgent, fetch } = load("undici");

const [model, prompt] = process.argv.slice(2);
// Node's own fetch reads no proxy variables; undici's agent does.
const options = process.env.HTTPS_PROXY
  ? { fetch, fetchOptions: { dispatcher: new EnvHttpProxyAgent() } }
  : {};
const client = new OpenAI(options);
try {
  const stream = await client.chat.completions.create({
    model,
    stream: true,
    max_tokens: 24,
    messages: [{ role: "user", content: prompt }],
  });
  for await (const chunk of stream) {
    process.stdout.write(chunk.choices[0]?.delta?.content ?? "");
  }
  process.stdout.write("\n");
} catch (error) {
  if (!(error instanceof OpenAI.APIError)) throw error;
  console.error(`error ${error.status}: ${error.message}`);
  process.exitCode = 3;
}
