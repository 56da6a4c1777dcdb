export { memoryStorage } from "./adapters/storage-memory.js";
