/** Gives the object `Symbol.asyncDispose`, where the platform has that symbol. */
export function disposable<T extends object>(object: T, dispose: () => Promise<void>): T & AsyncDisposable {
  if (Symbol.asyncDispose) Object.assign(object, { [Symbol.asyncDispose]: dispose });
  return object as T & AsyncDisposable;
}
