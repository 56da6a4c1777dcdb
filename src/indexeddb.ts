export { type IndexedDbOptions, indexedDbStorage } from "./adapters/storage-indexeddb.js";
