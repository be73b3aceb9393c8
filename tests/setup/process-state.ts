/** What test files that run in one process share besides the modules. A spy that stays shows as another function. */
const BUILT_IN = { Object, Array, String, Number, Date, Promise, Map, Set, Error, Buffer } as const;
const NAMESPACES = { globalThis, JSON, Math, process, console, crypto, performance } as const;

/** Left out: the logging library adds and removes its listeners of these when garbage is collected. */
const AT_THE_END: ReadonlySet<string | symbol> = new Set(["exit", "beforeExit"]);

export type ProcessState = ReadonlyMap<string, unknown>;

/** Each name with its value or function. */
export function stateOfProcess(): ProcessState {
  const state = new Map<string, unknown>([
    ["working directory", process.cwd()],
    ["exit code", process.exitCode],
  ]);
  for (const [name, value] of Object.entries(process.env)) state.set(`environment ${name}`, value);
  for (const event of process.eventNames().filter((one) => !AT_THE_END.has(one))) {
    for (const [index, listener] of process.rawListeners(event).entries()) {
      state.set(`listener ${String(event)} ${index}`, listener);
    }
  }
  for (const [name, object] of Object.entries(NAMESPACES)) addMembers(state, name, object);
  for (const [name, object] of Object.entries(BUILT_IN)) {
    addMembers(state, name, object);
    addMembers(state, `${name}.prototype`, object.prototype as object);
  }
  return state;
}

/** @returns the names of what is new, gone or another */
export function changesOf(before: ProcessState, after: ProcessState): readonly string[] {
  const names = new Set([...before.keys(), ...after.keys()]);
  return [...names].filter((name) => !Object.is(before.get(name), after.get(name)));
}

/** Functions only: other members may change by themselves, and a getter may act. */
function addMembers(state: Map<string, unknown>, name: string, object: object): void {
  for (const key of Reflect.ownKeys(object)) {
    const value: unknown = Object.getOwnPropertyDescriptor(object, key)?.value;
    if (typeof value === "function") state.set(`${name}.${String(key)}`, value);
  }
}
