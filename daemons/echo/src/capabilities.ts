import type { Capabilities } from "@linkspan/daemon-kit";
import type { LinkDeclaration, LinkField } from "@linkspan/envelopes";
import { MAX_PART_BYTES } from "./outbound.ts";

/** Everything: what a fake refuses cannot be tested with it. */
export const CAPABILITIES: Capabilities = {
  send: ["text"],
  edit: true,
  delete: true,
  reaction: true,
  typing: true,
  read: true,
  history: true,
  roster: true,
  maxPartBytes: MAX_PART_BYTES,
  pace: { perSecond: 2_000, burst: 2_000 },
  rows: true,
  entities: ["bold", "italic", "underline", "strike", "code", "pre", "link", "mention", "spoiler", "quote"],
};

const field = (
  name: string,
  label: string,
  syntax: LinkField["syntax"],
  more: Partial<LinkField> = {},
): LinkField => ({
  name,
  label,
  required: false,
  secret: false,
  syntax,
  max_bytes: 200,
  ...more,
});

export const DECLARATION: LinkDeclaration = {
  name: "Echo",
  description: "A fake platform that answers everything; for trying things out and for tests.",
  fields: [
    field("nick", "Name to appear under", "line", { example: "echo" }),
    field("name", "The same, under another name", "line", { advanced: true }),
    field("password", "Any password", "line", { secret: true }),
    field("code", "Code that you were sent", "word", { secret: true, advanced: true }),
    field("ask_code", "Ask for a code when linking", "boolean", { advanced: true }),
    field("count", "Count in durable rows what is said", "boolean", { advanced: true }),
    field("slow_ms", "Delay of each answer, milliseconds", "integer", { advanced: true }),
    field("fail", "Error code that everything fails with", "word", { advanced: true }),
    field("duplicate", "Answer twice", "boolean", { advanced: true }),
    field("reorder", "Answer in another order", "boolean", { advanced: true }),
  ],
};
