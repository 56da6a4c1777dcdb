import { checkId, membersOf } from "../check.js";

/** The credential that a login is for. */
export interface AuthTarget {
  realm: string;
  binding: string;
  profile?: string;
}

export function checkTarget(field: string, value: unknown, maxLength: number): AuthTarget {
  const { realm, binding, profile } = membersOf(field, value, ["realm", "binding", "profile"]);
  return {
    realm: checkId(`${field}.realm`, realm, maxLength),
    binding: checkId(`${field}.binding`, binding, maxLength),
    ...(profile !== undefined && { profile: checkId(`${field}.profile`, profile, maxLength) }),
  };
}

export function sameTarget(a: AuthTarget, b: AuthTarget): boolean {
  return a.realm === b.realm && a.binding === b.binding && a.profile === b.profile;
}
