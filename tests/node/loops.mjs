// Loops of tool calls through an official SDK for Node: `node loops.mjs '{"sdk": …, "base_url": …, "key": …, "runs": […]}'`.
// A run is {model, streamed, keeps}; each gives one line of JSON, which the Python tests judge. With `keeps` the history is what
// the SDK returned, else it is rebuilt from the fields that every client knows.
import Anthropic from "@anthropic-ai/sdk";
import { GoogleGenAI } from "@google/genai";
import OpenAI from "openai";

const { sdk, base_url, key, runs, script, results, parameters, follow_up } = JSON.parse(process.argv[2]);
const MAX_ROUNDS = 9;
const named = Object.entries(parameters);
const resultOf = (args) => results[Object.values(args)[0]];

function chat({ model, streamed, keeps }, loop) {
  const client = new OpenAI({ apiKey: key, baseURL: `${base_url}/v1`, maxRetries: 0 });
  const tools = named.map(([name, schema]) => ({ type: "function", function: { name, parameters: schema } }));
  const messages = [{ role: "system", content: "be brief" }];
  return async (text) => {
    if (text) messages.push({ role: "user", content: text });
    const options = { model, messages, tools, reasoning_effort: "high" };
    const answer = streamed
      ? await client.chat.completions.stream({ ...options, stream_options: { include_usage: true } }).finalChatCompletion()
      : await client.chat.completions.create(options);
    const { message } = answer.choices[0];
    const calls = message.tool_calls ?? [];
    loop.texts.push(message.content ?? "");
    // Of a field that it does not know this SDK keeps the last piece of a stream only.
    loop.thoughts.push(streamed ? "" : (message.reasoning_content ?? ""));
    loop.usages.push(answer.usage);
    if (keeps) {
      messages.push(message);
    } else {
      const known = calls.map(({ id, function: { name, arguments: args } }) => ({ id, type: "function", function: { name, arguments: args } }));
      messages.push({ role: "assistant", content: message.content, ...(known.length ? { tool_calls: known } : {}) });
    }
    for (const call of calls) {
      const args = JSON.parse(call.function.arguments);
      loop.calls.push([call.function.name, args]);
      messages.push({ role: "tool", tool_call_id: call.id, content: resultOf(args) });
    }
    return calls.length;
  };
}

function responses({ model, streamed, keeps }, loop) {
  const client = new OpenAI({ apiKey: key, baseURL: `${base_url}/v1`, maxRetries: 0 });
  const tools = named.map(([name, schema]) => ({ type: "function", name, parameters: schema, strict: false }));
  const input = [];
  return async (text) => {
    if (text) input.push({ role: "user", content: text });
    const options = {
      model, input, tools, store: false, instructions: "be brief",
      reasoning: { effort: "high", summary: "auto" }, include: ["reasoning.encrypted_content"],
    };
    const answer = streamed ? await client.responses.stream(options).finalResponse() : await client.responses.create(options);
    const calls = answer.output.filter((item) => item.type === "function_call");
    const shown = answer.output.filter((item) => item.type === "reasoning").flatMap((item) => item.summary);
    loop.texts.push(answer.output_text);
    loop.thoughts.push(shown.map((part) => part.text).join(""));
    loop.usages.push(answer.usage);
    if (keeps) {
      input.push(...answer.output);
    } else {
      if (answer.output_text) input.push({ role: "assistant", content: answer.output_text });
      input.push(...calls.map(({ call_id, name, arguments: args }) => ({ type: "function_call", call_id, name, arguments: args })));
    }
    for (const call of calls) {
      const args = JSON.parse(call.arguments);
      loop.calls.push([call.name, args]);
      input.push({ type: "function_call_output", call_id: call.call_id, output: resultOf(args) });
    }
    return calls.length;
  };
}

function anthropic({ model, streamed, keeps }, loop) {
  const client = new Anthropic({ apiKey: key, baseURL: base_url, maxRetries: 0 });
  const tools = named.map(([name, schema]) => ({ name, input_schema: schema }));
  const messages = [];
  // A model of the vendor's newest takes no budget.
  const thinking = model === "loop-anthropic" ? { type: "adaptive", display: "summarized" } : { type: "enabled", budget_tokens: 2048 };
  return async (text) => {
    if (text) messages.push({ role: "user", content: text });
    const options = { model, messages, tools, max_tokens: 8192, system: "be brief", thinking };
    const answer = streamed ? await client.messages.stream(options).finalMessage() : await client.messages.create(options);
    const of = (kind) => answer.content.filter((block) => block.type === kind);
    const calls = of("tool_use");
    loop.texts.push(of("text").map((block) => block.text).join(""));
    loop.thoughts.push(of("thinking").map((block) => block.thinking).join(""));
    loop.usages.push(answer.usage);
    const known = answer.content
      .filter((block) => block.type === "text" || block.type === "tool_use")
      .map((block) => block.type === "text"
        ? { type: "text", text: block.text }
        : { type: "tool_use", id: block.id, name: block.name, input: block.input });
    messages.push({ role: "assistant", content: keeps ? answer.content : known });
    loop.calls.push(...calls.map((call) => [call.name, call.input]));
    if (calls.length) {
      const content = calls.map((call) => ({ type: "tool_result", tool_use_id: call.id, content: resultOf(call.input) }));
      messages.push({ role: "user", content });
    }
    return calls.length;
  };
}

function gemini({ model, streamed, keeps }, loop) {
  const client = new GoogleGenAI({ apiKey: key, httpOptions: { baseUrl: base_url } });
  const config = {
    systemInstruction: "be brief",
    tools: [{ functionDeclarations: named.map(([name, schema]) => ({ name, parametersJsonSchema: schema })) }],
    thinkingConfig: { includeThoughts: true, thinkingLevel: "HIGH" },
  };
  // The SDK's own history keeps every part as it came.
  const keeper = client.chats.create({ model, config });
  const contents = [];
  let next = [];
  return async (text) => {
    const parts = text ? [{ text }] : next;
    let chunks = [];
    if (keeps) {
      if (streamed) for await (const chunk of await keeper.sendMessageStream({ message: parts })) chunks.push(chunk);
      else chunks = [await keeper.sendMessage({ message: parts })];
    } else {
      contents.push({ role: "user", parts });
      if (streamed) for await (const chunk of await client.models.generateContentStream({ model, contents, config })) chunks.push(chunk);
      else chunks = [await client.models.generateContent({ model, contents, config })];
    }
    const answered = chunks.flatMap((chunk) => chunk.candidates?.[0]?.content?.parts ?? []);
    const join = (thought) => answered.filter((part) => Boolean(part.thought) === thought).map((part) => part.text ?? "").join("");
    const calls = answered.map((part) => part.functionCall).filter(Boolean);
    loop.texts.push(join(false));
    loop.thoughts.push(join(true));
    loop.usages.push(chunks.at(-1).usageMetadata);
    if (!keeps) {
      const known = calls.map(({ id, name, args }) => ({ functionCall: { id, name, args } }));
      contents.push({ role: "model", parts: [...(join(false) ? [{ text: join(false) }] : []), ...known] });
    }
    loop.calls.push(...calls.map((call) => [call.name, call.args]));
    next = calls.map(({ id, name, args }) => ({
      functionResponse: { id, name, response: { output: resultOf(args) } },
    }));
    return calls.length;
  };
}

const starts = { "openai-chat": chat, "openai-responses": responses, anthropic, gemini };
for (const run of runs) {
  const loop = { calls: [], texts: [], thoughts: [], usages: [] };
  try {
    const ask = starts[sdk](run, loop);
    let open = await ask(script);
    while (open && loop.texts.length < MAX_ROUNDS) open = await ask();
    await ask(follow_up);
    console.log(JSON.stringify(loop));
  } catch (error) {
    console.log(JSON.stringify({ error: String(error.message ?? error).slice(0, 1000) }));
  }
}
