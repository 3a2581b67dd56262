import { afterEach, describe, expect, it, vi } from "vitest";
import { client } from "./client";
import { ApiError, fieldErrors, pointerToPath } from "./problem";

const json = (status: number, body: unknown, headers: Record<string, string> = {}) =>
  new Response(JSON.stringify(body), {
    status,
    headers: { "content-type": "application/json", ...headers },
  });

const unauthenticated = () => json(401, { code: "unauthenticated", status: 401 });

/** Answers calls in the order of the list, and remembers them. */
function serve(answer: (call: string) => Response): string[] {
  const calls: string[] = [];
  vi.stubGlobal("fetch", async (input: Request | string, init?: RequestInit) => {
    const method = input instanceof Request ? input.method : (init?.method ?? "GET");
    const url = input instanceof Request ? input.url : `http://localhost${input}`;
    const call = `${method} ${new URL(url).pathname}`;
    calls.push(call);
    return answer(call);
  });
  return calls;
}

afterEach(() => vi.unstubAllGlobals());

describe("the client", () => {
  it("renews an ended session once for all who wait, and asks again", async () => {
    let renewed = false;
    const calls = serve((call) => {
      if (call === "POST /admin/v1/session:refresh") {
        renewed = true;
        return json(200, {});
      }
      return renewed ? json(200, { data: [], has_more: false }) : unauthenticated();
    });
    const [tenants, models] = await Promise.all([
      client.GET("/admin/v1/tenants"),
      client.GET("/admin/v1/models"),
    ]);
    expect(tenants.data).toEqual({ data: [], has_more: false });
    expect(models.data).toEqual({ data: [], has_more: false });
    expect(calls.filter((call) => call.includes("refresh"))).toHaveLength(1);
    expect(calls).toHaveLength(5);
  });

  it("does not renew a wrong password away", async () => {
    const calls = serve(() => json(401, { code: "invalid_credentials", status: 401 }));
    const attempt = client.POST("/admin/v1/session", { body: { email: "a@b.c", password: "x" } });
    await expect(attempt).rejects.toMatchObject({ status: 401, code: "invalid_credentials" });
    expect(calls).toEqual(["POST /admin/v1/session"]);
  });

  it("turns a problem into an error with the request id", async () => {
    serve(() =>
      json(
        422,
        {
          code: "validation_failed",
          status: 422,
          detail: "2 fields cannot be accepted.",
          errors: [{ pointer: "/limits/concurrency", rule: "too_small", reason: "At least 1." }],
        },
        { "x-request-id": "adm_1" },
      ),
    );
    const failure = await client
      .POST("/admin/v1/tenants", { body: { name: "acme" } })
      .catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(ApiError);
    expect(failure).toMatchObject({ status: 422, requestId: "adm_1", path: "/admin/v1/tenants" });
    expect(fieldErrors(failure)).toEqual({ "limits.concurrency": "At least 1." });
  });

  it("says so when no answer arrives", async () => {
    vi.stubGlobal("fetch", () => Promise.reject(new TypeError("network")));
    await expect(client.GET("/admin/v1/tenants")).rejects.toMatchObject({
      status: 0,
      code: "unreachable",
    });
  });
});

it("reads a JSON pointer as a form's path", () => {
  expect(pointerToPath("/targets/0/upstream_model")).toBe("targets.0.upstream_model");
  expect(pointerToPath("/a~1b")).toBe("a/b");
});
