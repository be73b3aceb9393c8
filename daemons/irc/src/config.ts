/**
 * Settings of a linked identity and of the daemon. Neither holds a secret: passwords, channel keys and client
 * certificates are credential fields in the vault.
 */
import { X509Certificate } from "node:crypto";
import { DaemonConfigSchema } from "@linkspan/daemon-kit";
import { FabricError } from "@linkspan/envelopes";
import { z } from "zod";
import { PACE } from "./capabilities.ts";
import { isChannelName } from "./conversation.ts";
import { defaultHost } from "./networks.ts";
import { DEFAULT_ENCODING, isEncoding } from "./wire/decoding.ts";

/** No blank, comma or control; not one that means a channel, a mask or a prefix to a server. */
const nick = z
  .string()
  .regex(
    /^[^\0-\x20,\x7F!*?@.$:#&+~%0-9-][^\0-\x20,\x7F!*?@.$:#&]{0,29}$/,
    "not a nickname of 1 to 30 characters",
  );
const channel = z.string().max(200).refine(isChannelName, "not a channel name, such as #linkspan");
const word = (max: number) =>
  z
    .string()
    .regex(/^[^\0-\x20\x7F:][^\0-\x20\x7F]*$/, "blanks and controls are not allowed")
    .max(max);
const certificate = z.string().max(20_000).refine(isCertificate, "not a certificate in PEM");

function isCertificate(pem: string): boolean {
  try {
    return pem.startsWith("-----BEGIN ") && new X509Certificate(pem).raw.length > 0;
  } catch {
    return false;
  }
}

const Tls = z.strictObject({
  ca: certificate.exactOptional().describe("authority in PEM, trusted instead of the system's"),
  fingerprint: z
    .string()
    .regex(/^(?:[0-9a-fA-F]{2}:?){32}$/)
    .exactOptional()
    .describe("SHA-256 of the one certificate that is trusted, hexadecimal"),
  serverName: z
    .string()
    .regex(/^[A-Za-z0-9._-]{1,253}$/)
    .exactOptional()
    .describe("name the certificate must show"),
});

const Known = z.strictObject({
  network: z
    .string()
    .regex(/^[a-z0-9][a-z0-9._-]{0,62}$/)
    .describe("our name of the network; part of every reference"),
  host: z
    .string()
    .regex(/^[A-Za-z0-9.:_-]{1,253}$/)
    .exactOptional()
    .describe("server; needless for networks that are known"),
  port: z.int().min(1).max(65_535).exactOptional().describe("6697 with TLS, 6667 without"),
  tls: z.union([z.boolean(), Tls]).default(true),
  nick,
  username: z
    .string()
    .regex(/^[A-Za-z0-9_.-]{1,10}$/)
    .exactOptional()
    .describe("user name before the host; letters of the nickname if absent"),
  realname: z
    .string()
    .regex(/^[^\0-\x1F\x7F]{1,100}$/)
    .exactOptional(),
  sasl: z
    .strictObject({
      mechanism: z.enum(["PLAIN", "EXTERNAL"]).default("PLAIN"),
      account: word(100).exactOptional(),
    })
    .exactOptional()
    .describe("login before registration"),
  nickserv: z
    .strictObject({
      service: word(60).default("NickServ"),
      account: word(100).exactOptional(),
      recover: z
        .enum(["REGAIN", "RECOVER", "GHOST", "none"])
        .default("REGAIN")
        .describe("how a taken nickname is asked back"),
    })
    .exactOptional()
    .describe("login after registration, where SASL is not offered"),
  channels: z.array(channel).max(500).default([]).describe("joined at every connection"),
  pace: z
    .strictObject({ perSecond: z.number().min(0.01).max(100_000), burst: z.number().min(2).max(100_000) })
    .default({ ...PACE })
    .describe("lines that the network accepts"),
  withoutCaps: z.array(word(60)).max(100).default([]).describe("IRCv3 capabilities not to be used"),
  membership: z
    .enum(["all", "own", "none"])
    .default("all")
    .describe("whose joins, parts and quits are events"),
  encoding: z
    .string()
    .max(40)
    .refine(isEncoding, "not an encoding, such as windows-1251")
    .default(DEFAULT_ENCODING)
    .describe("of lines that are not UTF-8"),
  followForwards: z
    .boolean()
    .default(false)
    .describe("whether a channel that forwards to another one is followed there"),
  maxLines: z.int().min(1).max(500).default(40).describe("a message of more lines is refused"),
});

/**
 * Input of a form arrives as text: numbers, yes and no, lists with commas. Msgr's
 * `configure_identity` says `nickname`, and brings the user and what the vault has taken.
 */
export const SettingsSchema = z.preprocess((given) => {
  if (typeof given !== "object" || given === null || Array.isArray(given)) return given;
  const { nickname, user_id: _user, auth: _auth, account, ...rest } = given as Record<string, unknown>;
  const settings = Object.fromEntries(
    Object.entries(rest)
      .filter(([, value]) => value !== "")
      .map(([name, value]) => [name, typeof value === "string" ? fromForm(name, value) : value]),
  );
  return {
    ...(nickname !== undefined && { nick: nickname }),
    ...(typeof account === "string" && account !== "" && { sasl: { account } }),
    ...settings,
  };
}, Known);

function fromForm(name: string, text: string): unknown {
  if (name === "port" && /^[0-9]{1,5}$/.test(text)) return Number(text);
  if ((name === "tls" || name === "followForwards") && (text === "true" || text === "false"))
    return text === "true";
  if (name !== "channels") return text;
  return text
    .split(",")
    .map((one) => one.trim())
    .filter((one) => one !== "");
}

export type Settings = z.output<typeof Known> & { readonly host: string; readonly port: number };

/** @throws FabricError `request.invalid` with every fault; values are not repeated */
export function parseSettings(given: Readonly<Record<string, unknown>>): Settings {
  const result = SettingsSchema.safeParse(given, {
    error: ({ input }) => (input === undefined ? "it is missing" : undefined),
  });
  if (!result.success) {
    const faults = result.error.issues.map(
      ({ path, message }) => `${path.join(".") || "settings"}: ${message}`,
    );
    throw new FabricError("request.invalid", `the settings have faults: ${faults.join("; ")}`);
  }
  const { host = defaultHost(result.data.network), port = result.data.tls === false ? 6667 : 6697 } =
    result.data;
  if (host === undefined) {
    throw new FabricError(
      "request.invalid",
      `host: ${result.data.network} is not a known network, so it needs one`,
    );
  }
  return { ...result.data, host, port };
}

/** `LINKSPAN_DAEMON_IRC_*` beside what every daemon is told. */
export const IrcConfigSchema = DaemonConfigSchema.extend({
  ircPrivateHosts: z
    .enum(["refuse", "allow"])
    .default("refuse")
    .describe("whether users may name servers on loopback and private addresses"),
  ircConnectionsPerHost: z.coerce
    .number()
    .int()
    .min(1)
    .default(100)
    .describe("identities connected to one host at once; more wait in turn"),
  ircAttemptsPerHost: z.coerce
    .number()
    .int()
    .min(1)
    .default(2)
    .describe("connections to one host that are being made at once"),
});

export type IrcConfig = z.output<typeof IrcConfigSchema>;
