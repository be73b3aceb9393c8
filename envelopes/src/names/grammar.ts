/** The spellings that several parts of the contract share. All are anchored and linear. */

export const SERVICE = /^[a-z][a-z0-9_]{0,31}$/;
export const INSTANCE = /^[a-z0-9][a-z0-9_-]{0,62}$/;
export const ACTION = /^[a-z][a-z0-9_]{0,63}$/;
export const WORKSPACE = /^[A-Za-z0-9_-]{1,64}$/;
/** A UUID, lower case and hyphenated. */
export const TRACE_ID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
/** 32 bytes in base64url without padding; the last character carries four bits. */
export const DIGEST = /^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$/;
export const ISSUER =
  /^(?:core|backend:[a-z0-9][a-z0-9_-]{0,62}|daemon:[a-z][a-z0-9_]{0,31}:[a-z0-9][a-z0-9_-]{0,62})$/;

/** The instance of a topic that names none. */
export const PRIMARY = "primary";
