import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { directoryFor, giveTo } from "./account.ts";
import { executable } from "./available.ts";
import { createAuthority } from "./certificates.ts";
import { answersIrc, type IrcBans, ircBans } from "./irc-operator.ts";
import { reservePort } from "./port.ts";
import { type Server, startServer } from "./server.ts";

export interface NgircdOptions {
  /** Its own defaults: 5 connections from one address, 10 channels, nicks of 9, penalty times. */
  readonly strict?: boolean;
}

export interface NgircdServer extends Server, IrcBans {
  readonly host: string;
  readonly port: number;
  readonly tlsPort: number;
  /** PEM of the authority behind the TLS port's certificate, which names `localhost`. */
  readonly ca: string;
  readonly serverName: string;
}

const ACCOUNT = "irc";
const SERVER_NAME = "ngircd.test.invalid";
const OPERATOR = { name: "tester", password: "operator" };

const GENEROUS = [
  "MaxConnections = 0",
  "MaxConnectionsIP = 0",
  "MaxJoins = 1000",
  "MaxNickLength = 30",
  "MaxPenaltyTime = 0",
];

/** A private ngIRCd: the plainest server a client meets; of IRCv3 it knows little more than `multi-prefix`. */
export async function startNgircd(options: NgircdOptions = {}): Promise<NgircdServer> {
  const directory = directoryFor(ACCOUNT, "ngircd");
  const [port, tlsPort] = [await reservePort(), await reservePort()];
  const authority = await createAuthority(directory);
  const { certFile, keyFile } = await authority.issue("localhost");
  const file = join(directory, "ngircd.conf");
  const config = [
    "[Global]",
    `Name = ${SERVER_NAME}`,
    "Info = test server",
    "Listen = 127.0.0.1",
    `Ports = ${port.number}`,
    "MotdPhrase = test server",
    "[Limits]",
    ...(options.strict ? [] : GENEROUS),
    "[Options]",
    "PAM = no",
    "DNS = no",
    "Ident = no",
    "ConnectIPv6 = no",
    "IncludeDir =",
    "[SSL]",
    `CertFile = ${certFile}`,
    `KeyFile = ${keyFile}`,
    `Ports = ${tlsPort.number}`,
    "[Operator]",
    `Name = ${OPERATOR.name}`,
    `Password = ${OPERATOR.password}`,
    "",
  ];
  writeFileSync(file, config.join("\n"));
  giveTo(ACCOUNT, directory);

  return startServer(
    {
      name: "ngircd",
      command: [executable("ngircd"), "--nodaemon", "--config", file],
      account: ACCOUNT,
      directory,
      ports: [port, tlsPort],
      answers: () => answersIrc(port.number),
    },
    {
      host: "127.0.0.1",
      port: port.number,
      tlsPort: tlsPort.number,
      ca: authority.ca,
      serverName: SERVER_NAME,
      ...ircBans(
        { port: port.number, ...OPERATOR },
        {
          ban: (mask, reason) => [`KLINE *!${mask} 86400 :${reason}`],
          unban: (mask) => [`KLINE *!${mask}`],
        },
      ),
    },
  );
}
