/** `IPv4` or `IPv6`, the value of the label `ip_family`. */
export type FamilyLabel = 'IPv4' | 'IPv6';
