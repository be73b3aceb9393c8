/** The pages that problems link to. Open to all: they are the same for everybody. */
import { FabricError, isErrorCode } from "@linkspan/envelopes";
import { z } from "zod";
import type { Routes } from "../context.ts";
import { PAGE_HEADERS, problemHtml, problemText } from "../problem-pages.ts";
import { answers } from "../schemas.ts";
import { sendAsIs } from "../send-as-is.ts";

const HTML = "text/html";
const TEXT = "text/plain";

export const problems: Routes = (app) => {
  app.get(
    "/problems/:code",
    {
      schema: {
        operationId: "explainProblem",
        tags: ["problems"],
        summary: "What an error code means and what to do; HTML where Accept names it, else plain text",
        params: z.object({ code: z.string().max(64) }),
        response: answers({
          200: {
            description: "The page",
            content: { [HTML]: { schema: z.string() }, [TEXT]: { schema: z.string() } },
          },
        }),
      },
    },
    async (request, reply) => {
      const { code } = request.params;
      if (!isErrorCode(code)) throw new FabricError("request.not_found", "no such error code");
      const wantsHtml = request.headers.accept?.includes(HTML) === true;
      const page = wantsHtml ? problemHtml(code) : problemText(code);
      const type = `${wantsHtml ? HTML : TEXT}; charset=utf-8`;
      return sendAsIs(reply.headers(PAGE_HEADERS), type, Buffer.from(page));
    },
  );
};
