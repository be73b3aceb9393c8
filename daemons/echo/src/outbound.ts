/** Outbound actions of every service → activities, and the orders that a text or the settings give to the fake. Pure. */
import type { OutboundAction, Part } from "@linkspan/daemon-kit";
import { FabricError, parseRef } from "@linkspan/envelopes";
import type { Activity } from "./client.ts";

/** Faults that the fake is to cause with one action. */
export interface Order {
  readonly slowMs: number;
  /** An error code to fail with, before anything is sent. */
  readonly fail?: string;
  /** Said, and the peer does not repeat it. */
  readonly silent: boolean;
  readonly duplicate: boolean;
  readonly reorder: boolean;
  /** Cut the connection once it is sent. */
  readonly drop: boolean;
  /** Sent, but unanswered; `lost`: unanswered and not sent. */
  readonly uncertain: boolean;
  readonly lost: boolean;
}

export interface EchoPart {
  readonly activity: Activity;
  readonly order: Order;
}

/** Longest text of one part, bytes of UTF-8. */
export const MAX_PART_BYTES = 1_000;

const NO_ORDER: Order = {
  slowMs: 0,
  silent: false,
  duplicate: false,
  reorder: false,
  drop: false,
  uncertain: false,
  lost: false,
};

/** @throws FabricError `platform.unsupported`, `platform.not_found` */
export function toParts(
  action: OutboundAction,
  settings: Readonly<Record<string, unknown>>,
): readonly Part[] {
  const activity = activityOf(action);
  const order = orderOf(activity.text ?? "", settings);
  const texts = activity.kind === "message" ? split(activity.text ?? "", MAX_PART_BYTES) : [activity.text];
  return texts.map((text, index) => {
    const data: EchoPart = { activity: text === undefined ? activity : { ...activity, text }, order };
    return { index, data, cost: 1 };
  });
}

/** `!slow 500`, `!fail platform.forbidden`, `!silent`, `!duplicate`, `!reorder`, `!drop`, `!uncertain`, `!lost`; several may follow. */
export function orderOf(text: string, settings: Readonly<Record<string, unknown>>): Order {
  let order: Order = { ...NO_ORDER, ...standing(settings) };
  const words = text.split(/\s+/);
  for (let at = 0; words[at]?.startsWith("!") === true; at++) {
    const word = words[at];
    if (word === "!slow") order = { ...order, slowMs: Number(words[++at]) || 0 };
    else if (word === "!fail") order = { ...order, fail: words[++at] ?? "platform.forbidden" };
    else if (word === "!silent") order = { ...order, silent: true };
    else if (word === "!duplicate") order = { ...order, duplicate: true };
    else if (word === "!reorder") order = { ...order, reorder: true };
    else if (word === "!drop") order = { ...order, drop: true };
    else if (word === "!uncertain") order = { ...order, uncertain: true };
    else if (word === "!lost") order = { ...order, lost: true };
  }
  return order;
}

function standing(settings: Readonly<Record<string, unknown>>): Partial<Order> {
  const { slow_ms, fail, silent, duplicate, reorder } = settings;
  return {
    ...(typeof slow_ms === "number" && { slowMs: slow_ms }),
    ...(typeof fail === "string" && { fail }),
    ...(silent === true && { silent }),
    ...(duplicate === true && { duplicate }),
    ...(reorder === true && { reorder }),
  };
}

function activityOf(action: OutboundAction): Activity {
  const { payload } = action;
  const channel = channelOf(action);
  const target = stringOf(payload.target ?? payload.message_id ?? firstOf(payload.message_ids));
  const text = textOf(payload);
  const base = { channel, ...(target !== undefined && { target }) };
  switch (action.action) {
    case "outbound_message": {
      const replyTo = stringOf(payload.reply_to);
      return {
        kind: "message",
        channel,
        text,
        ...(replyTo !== undefined && { replyTo }),
        ...(Array.isArray(payload.entities) && { entities: payload.entities }),
      };
    }
    case "outbound_edit":
      return { ...base, kind: "edit", text };
    case "outbound_delete":
      return { ...base, kind: "delete" };
    case "outbound_reaction":
      return {
        ...base,
        kind: "reaction",
        text: payload.remove === true ? "" : (stringOf(payload.key) ?? ""),
      };
    case "outbound_typing":
      return { ...base, kind: "typing", text: payload.typing === true ? "start" : "stop" };
    case "outbound_read":
      return { ...base, kind: "receipt" };
    case "join_channel":
      return { kind: "membership", channel, text: "join" };
    case "leave_channel":
      return { kind: "membership", channel, text: "leave" };
    default:
      throw new FabricError("platform.unsupported", `the echo platform knows no ${action.action}`);
  }
}

/** The conversation's remote name, or the one that Msgr's payload names. */
function channelOf({ conversation, payload }: OutboundAction): string {
  if (conversation !== undefined) {
    const ref = parseRef(conversation);
    if (ref.kind === "channel") return ref.remote.join("/");
  }
  const named = stringOf(payload.channel ?? payload.chat_id ?? payload.room_id ?? payload.target);
  if (named === undefined) throw new FabricError("platform.not_found", "the action names no channel");
  return named;
}

function textOf(payload: Readonly<Record<string, unknown>>): string {
  const { text, message, body, stanza, content, arguments: words } = payload;
  if (Array.isArray(words)) return words.join(" ");
  const inner =
    typeof content === "object" && content !== null && "body" in content ? content.body : undefined;
  return stringOf(text ?? message ?? body ?? stanza ?? inner) ?? "";
}

function stringOf(value: unknown): string | undefined {
  if (typeof value === "string") return value;
  return typeof value === "number" ? String(value) : undefined;
}

function firstOf(value: unknown): unknown {
  return Array.isArray(value) ? (value as unknown[])[0] : undefined;
}

/** Cuts between code points; never an empty part, but one for an empty text. */
export function split(text: string, maxBytes: number): string[] {
  const parts: string[] = [];
  let part = "";
  let bytes = 0;
  for (const point of text) {
    const size = Buffer.byteLength(point);
    if (bytes + size > maxBytes) {
      parts.push(part);
      part = "";
      bytes = 0;
    }
    part += point;
    bytes += size;
  }
  return part === "" && parts.length > 0 ? parts : [...parts, part];
}
