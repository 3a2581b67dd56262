import createFetchClient, { type Middleware } from "openapi-fetch";
import createQueryHooks from "openapi-react-query";
import { ApiError, type Problem } from "./problem";
import type { paths } from "./schema.gen";

const SESSION = "/admin/v1/session";
const REFRESH = "/admin/v1/session:refresh";

let refreshing: Promise<boolean> | null = null;

/** Renews the short-lived session once for everybody who is waiting. */
function refresh(): Promise<boolean> {
  refreshing ??= fetch(REFRESH, { method: "POST", headers: { "Content-Type": "application/json" } })
    .then(async (answer) => {
      // What nobody reads would hold the connection.
      await answer.body?.cancel();
      return answer.ok;
    })
    .catch(() => false)
    .finally(() => {
      refreshing = null;
    });
  return refreshing;
}

function isSignInCall(request: Request): boolean {
  const { pathname } = new URL(request.url);
  return request.method !== "GET" && (pathname === SESSION || pathname === REFRESH);
}

/** A session lasts minutes; a call that meets its end renews it and asks again, once. */
async function fetchWithRenewal(request: Request): Promise<Response> {
  const retry = request.clone();
  const answer = await fetch(request);
  if (answer.status !== 401 || isSignInCall(request)) return answer;
  if (!(await refresh())) return answer;
  await answer.body?.cancel();
  return fetch(retry);
}

async function readProblem(response: Response): Promise<Problem | null> {
  if (!response.headers.get("content-type")?.includes("json")) return null;
  try {
    return (await response.clone().json()) as Problem;
  } catch {
    return null;
  }
}

const failures: Middleware = {
  async onResponse({ request, response }) {
    if (response.ok || response.status === 304) return;
    const problem = await readProblem(response);
    throw new ApiError(
      response.status,
      request.method,
      new URL(request.url).pathname,
      problem,
      response.headers.get("x-request-id") ?? problem?.instance ?? null,
    );
  },
  onError({ request, error }) {
    if (error instanceof ApiError || (error instanceof Error && error.name === "AbortError"))
      return;
    return new ApiError(0, request.method, new URL(request.url).pathname, null, null);
  },
};

export const client = createFetchClient<paths>({
  baseUrl: window.location.origin,
  fetch: fetchWithRenewal,
  credentials: "same-origin",
});
client.use(failures);

/** Typed React Query hooks over the generated client: paths, bodies and answers are the server's. */
export const api = createQueryHooks(client);
