/**
 * Removes from a platform's data what an envelope cannot contain: U+0000 and lone surrogates. Each is
 * replaced by U+FFFD, one code unit for one, so that entity offsets stay correct.
 *
 * @returns the same value when there was nothing to replace
 */
export function cleanText<T>(value: T): T {
  return clean(value) as T;
}

function clean(value: unknown): unknown {
  if (typeof value === "string") return cleanString(value);
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) {
    const items = value.map(clean);
    return items.some((item, index) => item !== value[index]) ? items : value;
  }
  const entries = Object.entries(value).map(([name, member]) => [name, clean(member)] as const);
  const changed = entries.some(([name, member]) => member !== (value as Record<string, unknown>)[name]);
  return changed ? Object.fromEntries(entries) : value;
}

function cleanString(text: string): string {
  const wellFormed = text.isWellFormed() ? text : text.toWellFormed();
  return wellFormed.includes("\0") ? wellFormed.replaceAll("\0", "\uFFFD") : wellFormed;
}
