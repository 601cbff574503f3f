// Streams one answer by the `@google/genai` package of npm: google_genai.mjs MODEL PROMPT.
// Prints the text as it comes. An error is printed once, on standard error, and ends it with code 3.
import { createRequire } from "node:module";

const load = createRequire(process.env.CLIENT_PACKAGES);
const { ApiError, GoogleGenAI } = load("@google/genai");
const { EnvHttpProxyAgent, setGlobalDispatcher } = load("undici");

const [model, prompt] = process.argv.slice(2);
// Node's own fetch reads no proxy variables; undici's agent does.
if (process.env.HTTPS_PROXY) setGlobalDispatcher(new EnvHttpProxyAgent());
const client = new GoogleGenAI({ apiKey: process.env.GEMINI_API_KEY });
try {
  const stream = await client.models.generateContentStream({ model, contents: prompt });
  for await (const chunk of stream) process.stdout.write(chunk.text ?? "");
  process.stdout.write("\n");
} catch (error) {
  if (!(error instanceof ApiError)) throw error;
  console.error(`error ${error.status}: ${error.message}`);
  process.exitCode = 3;
}
