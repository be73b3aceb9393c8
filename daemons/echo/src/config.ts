import { DaemonConfigSchema } from "@linkspan/daemon-kit";
import { z } from "zod";

/** What every daemon is told, and which service the fake stands in for. */
export const EchoConfigSchema = z.strictObject({
  ...DaemonConfigSchema.shape,
  service: z.enum(["echo", "telegram", "matrix", "irc", "xmpp"]).default("echo"),
});
