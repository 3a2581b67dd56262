// One call of an official SDK for Node: `node sdk.mjs '{"sdk": …, "base_url": …, "key": …, "model": …, "what": …}'`.
// Prints what came back as one line of JSON; the Python tests judge it.
import Anthropic from "@anthropic-ai/sdk";
import OpenAI from "openai";

const { sdk, base_url, key, model, what, tool, png } = JSON.parse(process.argv[2]);
const tools = [{ type: "function", function: { name: "weather", parameters: tool } }];
const flat = [{ type: "function", name: "weather", parameters: tool, strict: false }];

async function chat(client) {
  const user = (content) => [{ role: "user", content }];
  if (what === "plain") {
    const answer = await client.chat.completions.create({ model, messages: user("hello") });
    return { text: answer.choices[0].message.content, finish: answer.choices[0].finish_reason, total: answer.usage.total_tokens };
  }
  if (what === "stream") {
    let text = "";
    let total = 0;
    const stream = await client.chat.completions.create({
      model, messages: user("words=50"), stream: true, stream_options: { include_usage: true },
    });
    for await (const chunk of stream) {
      text += chunk.choices[0]?.delta?.content ?? "";
      total = chunk.usage?.total_tokens ?? total;
    }
    return { words: text.split(" ").length, total };
  }
  if (what === "image") {
    const url = `data:image/png;base64,${png}`;
    const content = [{ type: "text", text: "look" }, { type: "image_url", image_url: { url } }];
    return { text: (await client.chat.completions.create({ model, messages: user(content) })).choices[0].message.content };
  }
  const messages = user("use the tool");
  const { message } = (await client.chat.completions.create({ model, messages, tools })).choices[0];
  const [call] = message.tool_calls;
  messages.push(message, { role: "tool", tool_call_id: call.id, content: "sunny" });
  const final = await client.chat.completions.create({ model, messages, tools });
  return { arguments: JSON.parse(call.function.arguments), text: final.choices[0].message.content };
}

async function responses(client) {
  if (what === "plain") {
    const answer = await client.responses.create({ model, input: "hello" });
    return { text: answer.output_text, finish: answer.status, total: answer.usage.total_tokens };
  }
  if (what === "stream") {
    let text = "";
    let total = 0;
    for await (const event of await client.responses.create({ model, input: "words=50", stream: true })) {
      if (event.type === "response.output_text.delta") text += event.delta;
      if (event.type === "response.completed") total = event.response.usage.total_tokens;
    }
    return { words: text.split(" ").length, total };
  }
  if (what === "image") {
    const image = { type: "input_image", detail: "auto", image_url: `data:image/png;base64,${png}` };
    const input = [{ role: "user", content: [{ type: "input_text", text: "look" }, image] }];
    return { text: (await client.responses.create({ model, input })).output_text };
  }
  const input = [{ role: "user", content: "use the tool" }];
  const answer = await client.responses.create({ model, input, tools: flat, store: false });
  const call = answer.output.find((item) => item.type === "function_call");
  input.push(
    { type: "function_call", call_id: call.call_id, name: call.name, arguments: call.arguments },
    { type: "function_call_output", call_id: call.call_id, output: "sunny" },
  );
  const final = await client.responses.create({ model, input, tools: flat, store: false });
  return { arguments: JSON.parse(call.arguments), text: final.output_text };
}

async function anthropic(client) {
  const ask = { model, max_tokens: 500 };
  const user = (content) => [{ role: "user", content }];
  const text = (message) => message.content.filter((block) => block.type === "text").map((block) => block.text).join("");
  if (what === "plain") {
    const answer = await client.messages.create({ ...ask, messages: user("hello") });
    return { text: text(answer), finish: answer.stop_reason, total: answer.usage.input_tokens + answer.usage.output_tokens };
  }
  if (what === "stream") {
    const final = await client.messages.stream({ ...ask, messages: user("words=50") }).finalMessage();
    return { words: text(final).split(" ").length, total: final.usage.output_tokens };
  }
  if (what === "image") {
    const source = { type: "base64", media_type: "image/png", data: png };
    const answer = await client.messages.create({ ...ask, messages: user([{ type: "text", text: "look" }, { type: "image", source }]) });
    return { text: text(answer) };
  }
  const definitions = [{ name: "weather", input_schema: tool }];
  const messages = user("use the tool");
  const first = await client.messages.create({ ...ask, messages, tools: definitions });
  const call = first.content.find((block) => block.type === "tool_use");
  messages.push(
    { role: "assistant", content: first.content },
    { role: "user", content: [{ type: "tool_result", tool_use_id: call.id, content: "sunny" }] },
  );
  return { arguments: call.input, text: text(await client.messages.create({ ...ask, messages, tools: definitions })) };
}

const options = { apiKey: key, maxRetries: 0 };
const calls = {
  chat: () => chat(new OpenAI({ ...options, baseURL: `${base_url}/v1` })),
  responses: () => responses(new OpenAI({ ...options, baseURL: `${base_url}/v1` })),
  anthropic: () => anthropic(new Anthropic({ ...options, baseURL: base_url })),
};
try {
  console.log(JSON.stringify(await calls[sdk]()));
} catch (error) {
  console.log(JSON.stringify({
    error: error.constructor.name, status: error.status ?? null, code: error.code ?? null,
    request_id: error.requestID ?? null, message: String(error.message).slice(0, 500),
  }));
}
