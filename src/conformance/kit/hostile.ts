/** Values that an argument must not have, by their description. */
export type Values = Record<string, unknown>;

class Money {
  amount = 1;
}

export function hostileObjects(): Values {
  const revoked = Proxy.revocable({}, {});
  revoked.revoke();
  const fail = () => {
    throw new Error("a trap");
  };
  return {
    "a revoked Proxy": revoked.proxy,
    "a Proxy whose traps throw": new Proxy(
      {},
      { get: fail, ownKeys: fail, has: fail, getPrototypeOf: fail, getOwnPropertyDescriptor: fail },
    ),
  };
}

/** The values for an optional argument: undefined is allowed. */
export const given = (values: () => Values) => (): Values =>
  Object.fromEntries(Object.entries(values()).filter(([, value]) => value !== undefined));

export const noText = (): Values => ({
  undefined: undefined,
  null: null,
  "a number": 1,
  NaN: Number.NaN,
  "a flag": true,
  "a list": ["p"],
  "an object": {},
  "a String object": new String("p"),
  "a function": () => "p",
  "a symbol": Symbol("p"),
  "a BigInt": 1n,
  ...hostileObjects(),
});

export const noId = (): Values => ({
  ...noText(),
  "an empty text": "",
  blanks: " \t\n\u00a0",
  "a lone high surrogate": "p\ud83d",
  "a lone low surrogate": "\ude00p",
  "one too long": "x".repeat(513),
});

export const noCount = (): Values => ({
  undefined: undefined,
  null: null,
  "a text": "1",
  NaN: Number.NaN,
  Infinity: Number.POSITIVE_INFINITY,
  "-Infinity": Number.NEGATIVE_INFINITY,
  "less than none": -1,
  "a half": 0.5,
  "beyond the safe integers": 2 ** 53,
  "a BigInt": 1n,
  "a Number object": new Number(1),
  "a date": new Date(0),
  "a list": [1],
  "an object": { valueOf: () => 1 },
  "a symbol": Symbol("1"),
});

export const noObject = (): Values => ({
  null: null,
  "a text": "p",
  "a number": 1,
  "a flag": false,
  "a list": [],
  "a function": () => ({}),
  "a symbol": Symbol("p"),
  "a BigInt": 1n,
  ...hostileObjects(),
});

/** Values for JSON whose texts are not mended: a lone surrogate is refused in them. */
export const noExactJson = (): Values => ({ ...noJson(), "a lone surrogate": { a: ["\ud800"] } });

export function noJson(): Values {
  const cycle: { self?: unknown } = {};
  cycle.self = cycle;
  const ring: unknown[] = [];
  ring.push({ ring });
  let deep: unknown = "bottom";
  for (let level = 0; level < 65; level++) deep = level % 2 ? [deep] : { deep };
  let bottomless: unknown = [];
  for (let level = 0; level < 100_000; level++) bottomless = [bottomless];
  let bomb: unknown = "x".repeat(100);
  for (let level = 0; level < 40; level++) bomb = [bomb, bomb];
  const named = Object.assign([1], { name: "list" });
  const bare: Values = {
    NaN: Number.NaN,
    Infinity: Number.POSITIVE_INFINITY,
    "a function": () => 1,
    "a symbol": Symbol("x"),
    "a BigInt": 1n,
    "a sparse array": new Array(3),
    "an array with undefined": [undefined],
    "an array with a named member": named,
    "a class instance": new Money(),
    "an array of a class": new (class List extends Array {})(),
    "a date": new Date(0),
    "a Map": new Map(),
    "a Set": new Set([1]),
    bytes: new Uint8Array(2),
    "an Error": new Error("x"),
    "a Promise": Promise.resolve(1),
    "a String object": new String("x"),
    "a symbol as a key": { [Symbol("x")]: 1 },
    "a lone surrogate as a key": { "\udc00": 1 },
    "an own __proto__": JSON.parse('{"__proto__":{"polluted":true}}'),
    "a getter that throws": {
      get a() {
        throw new Error("a getter");
      },
    },
    "a cycle": cycle,
    "a cycle of arrays": ring,
    "one level too deep": deep,
    "a hundred thousand levels": bottomless,
    "a text too large": "x".repeat(1_048_575),
    "two bytes a character, too large": "é".repeat(524_288),
    "many shared references, too large": bomb,
    ...hostileObjects(),
  };
  const inside = Object.entries(bare).map(([name, value]): [string, unknown] => [`${name}, further in`, { list: [0, value] }]);
  return { ...bare, ...Object.fromEntries(inside) };
}

/** Values for an argument that must be one of a few words. */
export const noWord = (): Values => ({
  ...noId(),
  "a word that nobody knows": "whatever",
  "a name of every object": "constructor",
});

export const noFlag = (): Values => ({ null: null, "a text": "true", "a number": 1, "a Boolean object": new Boolean(true) });

export const noList = (): Values => ({
  undefined: undefined,
  null: null,
  "an object": {},
  "a text": "x",
  "a list of nothing": [undefined],
  "a sparse list": new Array(2),
  "a huge list": new Array(1e6),
  "a Set": new Set(),
  ...hostileObjects(),
});

export function noBytes(): Values {
  const renamed = new Uint16Array(2);
  Object.defineProperty(renamed, Symbol.toStringTag, { value: "Uint8Array" });
  const moved = new Uint8Array(2);
  structuredClone(moved, { transfer: [moved.buffer] });
  return {
    undefined: undefined,
    null: null,
    "a text": "{}",
    "a list": [123, 125],
    "an object": { length: 2, 0: 123, 1: 125 },
    "an ArrayBuffer": new ArrayBuffer(2),
    "a DataView": new DataView(new ArrayBuffer(2)),
    "other numbers": new Uint16Array(2),
    "other numbers under its name": renamed,
    "an heir of its prototype": Object.create(Uint8Array.prototype),
    "a Proxy of bytes": new Proxy(new Uint8Array(2), {}),
    "what was handed away": moved,
    ...hostileObjects(),
  };
}

export const noSignal = (): Values => ({ ...noObject(), "an object": {}, "an AbortController": new AbortController() });
