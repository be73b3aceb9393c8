/** Uploads and downloads of media: places for them, and their end when the API stops. */
import type { FastifyReply } from "fastify";
import type { Context } from "../context.ts";

/**
 * Takes a place until the answer has ended. It is cut off when the API stops: it may be as slow as its client, and both
 * sides notice that bytes are missing.
 *
 * @throws FabricError `request.rate_limited`
 */
export function beginTransfer(
  { admission, stopping }: Pick<Context, "admission" | "stopping">,
  { raw }: Pick<FastifyReply, "raw">,
  workspaceId: string,
): void {
  const release = admission.transfer(workspaceId);
  const cutOff = () => void raw.destroy();
  const end = () => {
    release();
    stopping.removeEventListener("abort", cutOff);
  };
  // A client that is gone already is not told of again.
  if (raw.destroyed) {
    end();
    return;
  }
  raw.once("close", end);
  if (stopping.aborted) cutOff();
  else stopping.addEventListener("abort", cutOff, { once: true });
}
