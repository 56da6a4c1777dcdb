import type { Kernel } from "holdfast";
import { HoldfastProvider } from "holdfast/react";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { Chat } from "./chat.js";
import { kernel } from "./kernel.js";

const root = createRoot(document.getElementById("app") as HTMLElement);

function show(kernel: Kernel) {
  root.render(
    <StrictMode>
      <HoldfastProvider kernel={kernel} fallback="opening">
        <Chat sessionId="chat-1" />
      </HoldfastProvider>
    </StrictMode>,
  );
}

show(kernel);

// The dev server has a new kernel: the page stays as it is, and shows that one.
if (import.meta.hot) import.meta.hot.accept("./kernel.js", (fresh) => fresh && show(fresh.kernel));
