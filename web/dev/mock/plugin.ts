import type { IncomingMessage, ServerResponse } from "node:http";
import type { Connect, Plugin } from "vite";
import { answer } from "./routes.ts";

const LARGEST_BODY = 256 * 1024;

async function readBody(request: IncomingMessage): Promise<unknown> {
  let text = "";
  for await (const chunk of request) {
    text += chunk;
    if (text.length > LARGEST_BODY) throw new Error("body too large");
  }
  return text ? JSON.parse(text) : undefined;
}

function cookie(request: IncomingMessage, name: string): string | undefined {
  return request.headers.cookie
    ?.split("; ")
    .find((pair) => pair.startsWith(`${name}=`))
    ?.slice(name.length + 1);
}

const handle: Connect.NextHandleFunction = async (request, response: ServerResponse, next) => {
  const url = new URL(request.url ?? "/", "http://mock");
  if (!url.pathname.startsWith("/admin/v1/")) {
    next();
    return;
  }
  const scenario = cookie(request, "tallygate-mock") ?? "full";
  const body = await readBody(request);
  const { status, type, value } = answer(request.method ?? "GET", url, body, scenario);
  response.writeHead(status, { "content-type": type, "x-request-id": "adm_0199f3a07c12" });
  response.end(type === "text/csv" ? String(value) : JSON.stringify(value));
};

/** Answers the admin API in `npm run dev` and `npm run preview`, so that pages can be worked on alone. */
export function mockApi(): Plugin {
  return {
    name: "tallygate-mock-api",
    configureServer: (server) => {
      server.middlewares.use(handle);
    },
    configurePreviewServer: (server) => {
      server.middlewares.use(handle);
    },
  };
}
