import { Tabs } from "@mantine/core";
import { CodeBlock } from "./CodeBlock";
import classes from "./Snippets.module.css";

const KEY_PLACEHOLDER = "sk-tg1_…";

/** The data plane stands on the same host unless the server says where. */
export function gatewayUrl(): string {
  const { protocol, hostname } = window.location;
  return `${protocol}//${hostname}:8080`;
}

function curl(base: string, key: string, model: string): string {
  return `curl ${base}/v1/chat/completions \\
  -H "Authorization: Bearer ${key}" \\
  -H "Content-Type: application/json" \\
  -d '{"model":"${model}","messages":[{"role":"user","content":"hi"}]}'`;
}

function python(base: string, key: string, model: string): string {
  return `from openai import OpenAI

client = OpenAI(base_url="${base}/v1", api_key="${key}")
answer = client.chat.completions.create(
    model="${model}",
    messages=[{"role": "user", "content": "hi"}],
)
print(answer.choices[0].message.content)`;
}

function node(base: string, key: string, model: string): string {
  return `import OpenAI from "openai";

const client = new OpenAI({ baseURL: "${base}/v1", apiKey: "${key}" });
const answer = await client.chat.completions.create({
  model: "${model}",
  messages: [{ role: "user", content: "hi" }],
});
console.log(answer.choices[0].message.content);`;
}

function claude(base: string, key: string, model: string): string {
  return `export ANTHROPIC_BASE_URL=${base}
export ANTHROPIC_AUTH_TOKEN=${key}
export ANTHROPIC_MODEL=${model}
claude`;
}

/** Ready to paste: the two lines that change, in the words of each tool. */
export function Snippets({
  secret = KEY_PLACEHOLDER,
  model = "smart",
  base = gatewayUrl(),
}: {
  secret?: string | undefined;
  model?: string | undefined;
  base?: string | undefined;
}) {
  const tools = [
    ["curl", "curl", curl],
    ["python", "Python", python],
    ["node", "Node.js", node],
    ["claude", "Claude Code", claude],
  ] as const;
  return (
    <Tabs defaultValue="curl" keepMounted={false}>
      <Tabs.List mb="xs" className={classes.list}>
        {tools.map(([id, name]) => (
          <Tabs.Tab key={id} value={id} fz="sm">
            {name}
          </Tabs.Tab>
        ))}
      </Tabs.List>
      {tools.map(([id, , write]) => (
        <Tabs.Panel key={id} value={id}>
          <CodeBlock code={write(base, secret, model)} />
        </Tabs.Panel>
      ))}
    </Tabs>
  );
}
