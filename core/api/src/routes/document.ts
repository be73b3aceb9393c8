/** The document that describes the other routes. */
import type { Routes } from "../context.ts";

export const document: Routes = (app) => {
  let text: Buffer | undefined;
  app.get("/openapi.json", { schema: { hide: true } }, (_request, reply) => {
    text ??= Buffer.from(JSON.stringify(app.swagger()));
    return reply.type("application/json; charset=utf-8").send(text);
  });
};
