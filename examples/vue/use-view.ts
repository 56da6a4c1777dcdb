import type { View } from "holdfast";
import { onScopeDispose, type ShallowRef, shallowRef } from "vue";

/** A view of holdfast as a ref. The same value is the same object, so a shallow ref is enough. */
export function useView<T>(view: View<T>): Readonly<ShallowRef<T>> {
  const value = shallowRef(view.get());
  onScopeDispose(
    view.subscribe(() => {
      value.value = view.get();
    }),
  );
  return value;
}
