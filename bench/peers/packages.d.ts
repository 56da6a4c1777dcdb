// Packages that the bench installs for itself are missing when the project's types are checked.
declare module "@coji/durably";
declare module "@electric-sql/pglite";
declare module "@langchain/langgraph-checkpoint";
declare module "better-sqlite3";
declare module "idb-keyval";
declare module "kysely";
declare module "localforage";
declare module "rxdb/plugins/core";
declare module "rxdb/plugins/storage-dexie";
