/** True where both types are the same, member for member. */
export type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;

/** Does not compile unless its type argument is `true`. */
export function same<_ extends true>(): void {}
