/** The pages that the `type` of a problem leads to. */
import { CODES } from "@linkspan/envelopes";
import { expect, test } from "vitest";
import { describeApi } from "./api-world.ts";

describeApi("the pages of problems", {}, (api) => {
  test("the type of a problem leads to its page, without a token", async () => {
    const refused = await fetch(new URL("/v1/intents", api.world.api.url));
    const { type, code, title } = (await refused.json()) as Record<string, string>;
    expect([refused.status, code]).toEqual([401, "request.unauthorized"]);
    const page = await fetch(new URL(type ?? "", refused.url));
    expect([page.status, page.headers.get("content-type")]).toEqual([200, "text/plain; charset=utf-8"]);
    const text = await page.text();
    expect(text).toContain(code);
    expect(text).toContain(title);
  });

  test("a browser gets HTML that loads nothing and runs nothing", async () => {
    const page = await fetch(new URL("/problems/vault.sealed", api.world.api.url), {
      headers: { accept: "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8" },
    });
    expect(page.headers.get("content-type")).toBe("text/html; charset=utf-8");
    expect(page.headers.get("content-security-policy")).toContain("default-src 'none'");
    expect(page.headers.get("x-content-type-options")).toBe("nosniff");
    expect(page.headers.get("vary")).toBe("accept");
    expect(await page.text()).toContain("<h1><code>vault.sealed</code></h1>");
  });

  test("every code is served; what is no code is not found and not repeated", async () => {
    for (const code of Object.keys(CODES)) {
      const answer = await api.world.api.app.inject({ url: `/problems/${code}` });
      expect([code, answer.statusCode]).toEqual([code, 200]);
    }
    for (const name of ["no.such", "toString", "__proto__", "%3Cscript%3E"]) {
      const answer = await api.world.api.app.inject({
        url: `/problems/${name}`,
        headers: { accept: "text/html" },
      });
      expect([name, answer.statusCode]).toEqual([name, 404]);
      expect(answer.headers["content-type"]).toContain("application/problem+json");
      expect(answer.body).not.toContain("script");
    }
  });
});
