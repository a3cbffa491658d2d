// A conversation in the terminal, streamed: node chat.mjs (Ctrl-D ends it)
import OpenAI from "openai";
import readline from "node:readline";

const url = process.env.CCPROXY_URL ?? "http://127.0.0.1:8000";
const client = new OpenAI({ baseURL: `${url}/api/v1`, apiKey: process.env.CCPROXY_TOKEN ?? "anything" });
const messages = [];
for await (const line of readline.createInterface({ input: process.stdin })) {
  messages.push({ role: "user", content: line });
  const stream = client.chat.completions.stream({ model: "claude-sonnet-5-5", messages });
  stream.on("content", (text) => process.stdout.write(text));
  messages.push((await stream.finalChatCompletion()).choices[0].message);
  process.stdout.write("\n");
}
