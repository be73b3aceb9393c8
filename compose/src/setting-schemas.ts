/** Schemas of values that several settings have. */
import { z } from "zod";

export const url = (...protocols: string[]) =>
  z.string().refine((text) => URL.canParse(text) && protocols.includes(new URL(text).protocol), {
    message: `expected a URL starting with ${protocols.map((protocol) => `${protocol}//`).join(" or ")}`,
  });
export const path = z.string().min(1);
export const rate = z.coerce.number().min(0.01).max(1_000_000);
export const addresses = z.preprocess(
  (value) => (typeof value === "string" ? value.split(",").map((item) => item.trim()) : value),
  z.array(z.union([z.ipv4(), z.ipv6(), z.cidrv4(), z.cidrv6()], "not an address or CIDR range")),
);
