type Present<T> = { [K in keyof T]: Exclude<T[K], undefined> };

/** `object` without the keys whose value is undefined. */
export function present<T extends object>(object: T): Present<T> {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined)) as Present<T>;
}
