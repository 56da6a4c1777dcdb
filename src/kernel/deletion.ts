import { checkFunction, optionsOf } from "../domain/check.js";
import { asHoldfastError, HoldfastError } from "../domain/errors.js";
import type { KernelStorage } from "../ports/storage.js";
import { checkName, checkStorage } from "./options.js";
import type { Platform } from "./platform.js";

/** Removes the database, and the notes of farewell that pages left beside it. Its kernels hear of it from their storage. */
export async function deleteData(
  name: unknown,
  options: unknown,
  platform: Pick<Platform, "storage" | "farewellNotes">,
): Promise<void> {
  const known = checkName(name);
  const { storage } = optionsOf("deleteKernelData", options, ["storage"]);
  const place: KernelStorage = storage === undefined ? platform.storage() : checkStorage(storage, "options.storage");
  if (place.remove === undefined)
    throw new HoldfastError("unsupported", `a storage of kind "${place.kind}" does not delete: it has no method remove`);
  checkFunction("options.storage.remove", place.remove);
  try {
    const databaseId = await place.remove(known);
    if (typeof databaseId === "string") platform.farewellNotes(databaseId)?.burn();
  } catch (error) {
    throw asHoldfastError(error, "unavailable", `the data of the kernel "${known}" could not be deleted`);
  }
}
