import { kernel } from "./kernel.js";

export const session = await kernel.session("chat-1");
