import type { components } from "./schema.gen";

export type Problem = components["schemas"]["Problem"];

/** What went wrong with one call, whether the server said it or the network did. */
export class ApiError extends Error {
  override readonly name = "ApiError";

  constructor(
    /** HTTP status; 0 when no answer arrived. */
    readonly status: number,
    readonly method: string,
    readonly path: string,
    readonly problem: Problem | null,
    readonly requestId: string | null,
  ) {
    super(problem?.detail ?? problem?.title ?? `HTTP ${status}`);
  }

  get code(): string {
    if (this.problem?.code) return this.problem.code;
    return this.status === 0 ? "unreachable" : "unexpected_answer";
  }

  /** What a person pastes into a ticket. */
  diagnostics(): string {
    return JSON.stringify(
      {
        at: new Date().toISOString(),
        call: `${this.method} ${this.path}`,
        status: this.status,
        request_id: this.requestId,
        problem: this.problem,
        page: window.location.pathname + window.location.search,
      },
      null,
      2,
    );
  }
}

/** `/limits/requests_per_minute` as the path a Mantine form knows: `limits.requests_per_minute`. */
export function pointerToPath(pointer: string): string {
  return pointer
    .replace(/^#/, "")
    .split("/")
    .filter((part) => part !== "")
    .map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"))
    .join(".");
}

/** The server's word for each field, keyed as the form keys it; a member of a list is also its field's. */
export function fieldErrors(error: unknown): Record<string, string> {
  if (!(error instanceof ApiError)) return {};
  const found: Record<string, string> = {};
  for (const { pointer, reason } of error.problem?.errors ?? []) {
    const path = pointerToPath(pointer);
    found[path] = reason;
    found[path.replace(/\.\d+$/, "")] ??= reason;
  }
  return found;
}
