import { createContext, createElement, type ReactNode, Suspense, useContext, useMemo, useSyncExternalStore } from "react";
import type { Kernel } from "../../index.js";

/** What hooks know of the kernel of their provider. */
interface ProvidedKernel {
  /** Undefined until it is open. */
  readonly kernel: Kernel | undefined;
  /** The same promise in every render. */
  readonly opened: Promise<Kernel>;
}

const Provided = createContext<ProvidedKernel | undefined>(undefined);

interface Opening {
  readonly opened: Promise<Kernel>;
  /** Resolves when one of the next two is there. */
  readonly settled: Promise<void>;
  kernel?: Kernel;
  failed?: { readonly error: unknown };
}

/** React may render a component many times before it mounts it: an opening is remembered by what the provider was given. */
const openings = new WeakMap<Kernel | Promise<Kernel>, Opening>();

function openingOf(given: Kernel | Promise<Kernel>): Opening {
  const known = openings.get(given);
  if (known) return known;
  const opened = Promise.resolve(given);
  const settled = opened.then(
    (kernel) => {
      opening.kernel = kernel;
    },
    (error) => {
      opening.failed = { error };
    },
  );
  const opening: Opening = { opened, settled, ...(!isPromise(given) && { kernel: given }) };
  openings.set(given, opening);
  return opening;
}

function isPromise(given: Kernel | Promise<Kernel>): given is Promise<Kernel> {
  return typeof (given as { then?: unknown }).then === "function";
}

/** The props of `HoldfastProvider`. */
export interface HoldfastProviderProps {
  /** Made once, outside of all components: a kernel, or the promise that `createKernel` returns. The provider does not close it. */
  kernel: Kernel | Promise<Kernel>;
  /**
   * Shown until the kernel is there. Without it the children are rendered at once: their hooks show what they show while they load, what
   * they call waits for the kernel, and `useKernel` suspends.
   */
  fallback?: ReactNode;
  children?: ReactNode;
}

/**
 * Gives all hooks below it a kernel. If the kernel's promise rejects, the provider throws that error to the error boundary above it. A
 * whole chat:
 *
 *     import { createKernel } from "holdfast";
 *     import { HoldfastProvider, useSession } from "holdfast/react";
 *     import { createRoot } from "react-dom/client";
 *
 *     const kernel = createKernel({ name: "chat" });
 *     const opened = kernel.then((it) => it.session("main"));
 *     opened.then((session) => session.onTurn(async (turn) => turn.append({ role: "assistant", content: await answer(turn.messages) })));
 *
 *     function Chat() {
 *       const { messages, run, error, submit } = useSession("main");
 *       return (
 *         <form action={(data) => submit({ inputType: "prompt", text: String(data.get("text")) })}>
 *           {messages.map((message, at) => <p key={message.inputId ?? at}>{message.role}: {String(message.content)} {message.pending}</p>)}
 *           {run && <p>thinking</p>}
 *           {error && <p role="alert">{error}</p>}
 *           <input name="text" />
 *         </form>
 *       );
 *     }
 *
 *     createRoot(document.body).render(<HoldfastProvider kernel={kernel} fallback="opening"><Chat /></HoldfastProvider>);
 */
export function HoldfastProvider({ kernel, fallback, children }: HoldfastProviderProps): ReactNode {
  const suspends = fallback !== undefined;
  const provided = createElement(ProvidedChildren, { kernel, suspends }, children);
  return suspends ? createElement(Suspense, { fallback }, provided) : provided;
}

interface ChildrenProps {
  kernel: Kernel | Promise<Kernel>;
  suspends: boolean;
  children?: ReactNode;
}

function ProvidedChildren({ kernel: given, suspends, children }: ChildrenProps): ReactNode {
  const opening = openingOf(given);
  const store = useMemo(() => storeOf(opening), [opening]);
  // A failure is another value too, so that the component renders again and throws it.
  useSyncExternalStore(store.subscribe, store.get, store.get);
  const { kernel } = opening;
  const value = useMemo(() => ({ kernel, opened: opening.opened }), [kernel, opening]);
  if (opening.failed) throw opening.failed.error;
  if (suspends && !kernel) throw opening.settled;
  return createElement(Provided.Provider, { value }, children);
}

function storeOf(opening: Opening) {
  return {
    subscribe(listener: () => void): () => void {
      let isOver = false;
      void opening.settled.then(() => isOver || listener());
      return () => {
        isOver = true;
      };
    },
    get: () => opening.failed ?? opening.kernel,
  };
}

/** What the provider above has. Throws where there is none. */
export function useProvided(): ProvidedKernel {
  const provided = useContext(Provided);
  if (!provided) throw new Error("this hook needs a <HoldfastProvider kernel={...}> above its component");
  return provided;
}

/** The kernel of the provider above. Suspends until it is there. Throws where there is no provider. */
export function useKernel(): Kernel {
  const { kernel, opened } = useProvided();
  if (!kernel) throw opened;
  return kernel;
}
