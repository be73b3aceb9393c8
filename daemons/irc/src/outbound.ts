/**
 * Actions as lines of IRC. Pure, and the same in every process: a split message is resumed by the
 * numbers of its parts, so nothing that a server tells us enters the split.
 */
import {
  type ChannelChange,
  type Entity,
  FabricError,
  type Media,
  type OutboundMessage,
} from "@linkspan/envelopes";
import type { OutboundAction, Part } from "@linkspan/daemon-kit";
import { checkedChannel, type Place, placeOf, sameName, type Self } from "./conversation.ts";
import { isChannelKey } from "./secrets.ts";
import { withoutControls } from "./wire/formatting.ts";
import { textBytes } from "./wire/line-bytes.ts";
import { spelledOut } from "./wire/spelling.ts";
import { shortened, splitText } from "./wire/splitting.ts";

/** Bounds and costs of the parts of an action on one connection. */
export interface Bounds {
  /** More lines than this are refused, not sent. */
  readonly maxParts: number;
  /** Lines that one text takes: two where it is confirmed by a PING behind it. */
  readonly linesPerText: number;
  /** `Part.cost` of one line. */
  readonly costPerLine: number;
}

/** One thing to write; what `Part.data` holds. */
export type Write =
  | {
      readonly do: "say";
      readonly command: "PRIVMSG" | "NOTICE";
      readonly target: string;
      /** As it goes on the wire, with codes and CTCP marks. */
      readonly text: string;
      readonly replyTo?: string;
    }
  | { readonly do: "join"; readonly channel: string; readonly key?: string }
  | { readonly do: "leave"; readonly channel: string; readonly reason?: string };

const ACTION_BYTES = "\x01ACTION \x01".length;

/**
 * @returns parts whose `data` is a {@link Write}
 * @throws FabricError `platform.too_long`, `platform.unsupported`, `platform.not_found`, `platform.forbidden`
 */
export function toParts(action: OutboundAction, self: Self, bounds: Bounds): readonly Part[] {
  const { maxParts, linesPerText, costPerLine } = bounds;
  return writesOf(action, self, maxParts).map((write, index) => ({
    index,
    data: write,
    cost: (write.do === "say" ? linesPerText : 1) * costPerLine,
  }));
}

function writesOf(action: OutboundAction, self: Self, maxParts: number): readonly Write[] {
  switch (action.action) {
    case "outbound_message":
      return say(spokenOf(action), placeIn(action, self), self, maxParts);
    case "join_channel":
      return [joining(action.payload as ChannelChange, action, self)];
    case "leave_channel":
      return [leaving(action.payload as ChannelChange, action, self)];
    default:
      throw new FabricError("platform.unsupported", `IRC has nothing for ${action.action}`);
  }
}

interface Spoken {
  readonly command: "PRIVMSG" | "NOTICE" | "ACTION";
  readonly target: string | undefined;
  readonly text: string;
  readonly entities: readonly Entity[];
  readonly replyTo: string | undefined;
}

/** Canonical payload, or Msgr's `{body, command?, target?}` and `{command, target?, arguments?}`. */
interface AnyMessage extends Partial<OutboundMessage> {
  readonly body?: string;
  readonly command?: string;
  readonly target?: string;
  readonly arguments?: readonly string[];
}

const EMOTE = "/me ";

function spokenOf({ payload }: OutboundAction): Spoken {
  const said = payload as AnyMessage;
  const media = (said.media ?? []).map(mediaLine);
  const text = [said.text ?? said.body ?? said.arguments?.at(-1) ?? "", ...media].filter(Boolean).join("\n");
  const named = commandOf(said.command);
  const emote = named === "PRIVMSG" && text.startsWith(EMOTE);
  return {
    command: emote ? "ACTION" : named,
    target: said.target,
    text: emote ? text.slice(EMOTE.length) : text,
    entities: emote ? shifted(said.entities ?? [], EMOTE.length) : (said.entities ?? []),
    replyTo: said.reply_to,
  };
}

function commandOf(named: string | undefined): Spoken["command"] {
  const command = (named ?? "PRIVMSG").toUpperCase();
  if (command === "PRIVMSG" || command === "NOTICE" || command === "ACTION") return command;
  throw new FabricError(
    "platform.unsupported",
    `only PRIVMSG, NOTICE and ACTION can be sent, not ${command.slice(0, 20)}`,
  );
}

function mediaLine({ kind, name, url }: Media): string {
  if (url === undefined) {
    throw new FabricError("platform.unsupported", "IRC carries media as an address only, and this has none");
  }
  return name === undefined ? url : `[${kind}] ${name}: ${url}`;
}

function shifted(entities: readonly Entity[], by: number): Entity[] {
  return entities
    .map((entity) => ({
      ...entity,
      offset: Math.max(0, entity.offset - by),
      length: Math.min(entity.length, entity.offset + entity.length - by),
    }))
    .filter(({ length }) => length > 0);
}

function say(spoken: Spoken, place: Place, self: Self, maxParts: number): Write[] {
  if (spoken.target !== undefined && !sameName(self, spoken.target, place.name)) {
    throw new FabricError(
      "platform.forbidden",
      "the command's target is not the conversation it was allowed for",
    );
  }
  const emote = spoken.command === "ACTION";
  const command = spoken.command === "NOTICE" ? "NOTICE" : "PRIVMSG";
  const maxBytes = textBytes(command, place.name) - (emote ? ACTION_BYTES : 0);
  const { text, entities } = spelledOut(spoken.text, spoken.entities);
  const lines = splitText(text, entities, maxBytes);
  if (lines.length === 0) throw new FabricError("platform.unsupported", "there is no text to send");
  if (lines.length > maxParts) {
    const detail = `it would be ${lines.length} lines, and ${maxParts} are allowed; send it as an address`;
    throw new FabricError("platform.too_long", detail);
  }
  const replyTo = spoken.replyTo === undefined ? {} : { replyTo: spoken.replyTo };
  return lines.map((line) => ({
    do: "say",
    command,
    target: place.name,
    text: emote ? `\x01ACTION ${line}\x01` : line,
    ...replyTo,
  }));
}

function placeIn({ conversation }: OutboundAction, self: Self): Place {
  if (conversation === undefined)
    throw new FabricError("platform.not_found", "a message needs a conversation");
  return placeOf(self, conversation);
}

function joining({ channel, key }: ChannelChange, action: OutboundAction, self: Self): Write {
  const name = agreed(channel, action, self);
  if (key === undefined) return { do: "join", channel: name };
  if (!isChannelKey(key)) throw new FabricError("platform.not_found", "that is no channel key");
  return { do: "join", channel: name, key };
}

function leaving({ channel, reason }: ChannelChange, action: OutboundAction, self: Self): Write {
  const name = agreed(channel, action, self);
  const said = shortened(withoutControls(reason ?? ""), MAX_REASON_BYTES);
  return said === "" ? { do: "leave", channel: name } : { do: "leave", channel: name, reason: said };
}

const MAX_REASON_BYTES = 160;

/** The channel named, which must be the conversation's if there is one. */
function agreed(channel: string, { conversation }: OutboundAction, self: Self): string {
  const name = checkedChannel(channel);
  if (conversation !== undefined && !sameName(self, placeOf(self, conversation).name, name)) {
    throw new FabricError("platform.forbidden", "the channel is not the conversation it was allowed for");
  }
  return name;
}
