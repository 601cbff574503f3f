// Opens a page in Chromium, sends prompts by its form, and tells what is shown: browser.mjs URL SCREENSHOT PROMPT...
// Prints JSON: `turns` (class and text of each), `console` (errors), `loaded` (how each part came).
// The profile is new, our CA stands in the user's own NSS database, and QUIC is as Chromium has it.
import { execFileSync, spawn } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";

const [url, screenshot, ...prompts] = process.argv.slice(2);
const { HOME, PATH, LANG, HTTPS_PROXY, NODE_EXTRA_CA_CERTS } = process.env;
const proxy = new URL(HTTPS_PROXY);

const database = `${HOME}/.pki/nssdb`;
mkdirSync(database, { recursive: true });
execFileSync("certutil", ["-N", "-d", `sql:${database}`, "--empty-password"]);
execFileSync("certutil", ["-A", "-d", `sql:${database}`, "-t", "C,,", "-n", "Cordon", "-i", NODE_EXTRA_CA_CERTS]);

const browser = spawn(
  "chromium",
  [
    "--headless=new",
    // The pages are the tests' own, and many a container lets nobody make the sandbox.
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-background-networking",
    "--no-first-run",
    "--window-size=760,520",
    `--user-data-dir=${HOME}/profile`,
    `--proxy-server=${proxy.protocol}//${proxy.host}`,
    "--remote-debugging-pipe",
    "about:blank",
  ],
  { env: { HOME, PATH, LANG }, stdio: ["ignore", "ignore", "pipe", "pipe", "pipe"] },
);
let complaints = "";
browser.stderr.on("data", (bytes) => (complaints += bytes));
browser.on("exit", (code) => {
  if (!done) {
    console.error(`chromium ended with ${code}: ${complaints}`);
    process.exit(1);
  }
});
let done = false;

// The DevTools protocol over a pipe: JSON messages that end with a zero byte.
const waiting = new Map();
const listeners = new Map();
let number = 0;
let rest = "";
const [, , , toBrowser, fromBrowser] = browser.stdio;
fromBrowser.setEncoding("utf8");
fromBrowser.on("data", (text) => {
  const messages = (rest + text).split("\0");
  rest = messages.pop();
  for (const message of messages.map((one) => JSON.parse(one))) {
    if (message.id === undefined) {
      listeners.get(message.method)?.(message.params);
      continue;
    }
    const { resolve, reject } = waiting.get(message.id);
    waiting.delete(message.id);
    message.error ? reject(new Error(JSON.stringify(message.error))) : resolve(message.result);
  }
});
let session;
const call = (method, params = {}) =>
  new Promise((resolve, reject) => {
    waiting.set(++number, { resolve, reject });
    toBrowser.write(`${JSON.stringify({ id: number, sessionId: session, method, params })}\0`);
  });
const evaluate = async (expression) => {
  const { result, exceptionDetails } = await call("Runtime.evaluate", { expression, returnByValue: true });
  if (exceptionDetails) throw new Error(JSON.stringify(exceptionDetails));
  return result.value;
};
const until = async (expression) => {
  for (let tries = 0; tries < 300; tries++) {
    if (await evaluate(expression)) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(`never true: ${expression}\n${await evaluate("document.documentElement.outerHTML")}`);
};

const { targetId } = await call("Target.createTarget", { url: "about:blank" });
session = (await call("Target.attachToTarget", { targetId, flatten: true })).sessionId;
const errors = [];
const loaded = [];
listeners.set("Log.entryAdded", ({ entry }) => entry.level === "error" && errors.push(`${entry.text} ${entry.url ?? ""}`));
listeners.set("Runtime.exceptionThrown", ({ exceptionDetails }) => errors.push(exceptionDetails.text));
listeners.set("Network.responseReceived", ({ response }) => {
  loaded.push({
    url: response.url,
    status: response.status,
    protocol: response.protocol,
    headers: response.headers,
    security: response.securityState,
    issuer: response.securityDetails?.issuer,
  });
});
// A person would type the login once into the browser's own dialogue.
listeners.set("Fetch.authRequired", ({ requestId }) =>
  call("Fetch.continueWithAuth", {
    requestId,
    authChallengeResponse: {
      response: "ProvideCredentials",
      username: proxy.username,
      password: proxy.password,
    },
  }),
);
listeners.set("Fetch.requestPaused", ({ requestId }) => call("Fetch.continueRequest", { requestId }));
for (const domain of ["Page", "Log", "Runtime", "Network"]) await call(`${domain}.enable`);
await call("Fetch.enable", { handleAuthRequests: true });

const { errorText } = await call("Page.navigate", { url });
if (errorText) errors.push(errorText);
else {
  await until("document.body?.dataset.ready === 'yes'");
  for (const prompt of prompts) {
    await evaluate(`document.getElementById("prompt").value = ${JSON.stringify(prompt)};
      document.body.dataset.turn = "";
      document.querySelector("button").click();`);
    await until("document.body.dataset.turn === 'over'");
  }
}
const turns = await evaluate(
  "[...document.querySelectorAll('#turns > div')].map((turn) => ({ kind: turn.className, text: turn.textContent }))",
);
const { data } = await call("Page.captureScreenshot", { format: "png" });
writeFileSync(screenshot, Buffer.from(data, "base64"));
console.log(JSON.stringify({ turns, errors, loaded }));
done = true;
session = undefined;
await call("Browser.close");
