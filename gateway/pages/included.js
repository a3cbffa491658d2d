// What subscriptions paid for, as sentences: what the same requests would have cost at the API's list prices.

import { count, money } from "./format.js";

const ONE_CENT = 0.01;

// `sums` is `subscription` of a breakdown by `billed_to`, and `usage` an answer of `/usage`. Nothing to say is an empty text.
export function includedText(sums, usage) {
  if (!sums || sums.total_cost_usd < ONE_CENT) return "";
  const cost = `In this time your subscriptions paid for requests that would have cost ${money(sums.total_cost_usd)} at the API's list prices of ${usage.prices_as_of ?? "an unknown day"}.`;
  const left = sums.unpriced_tokens ? [`${count(sums.unpriced_tokens)} tokens without a known price are not in this sum.`] : [];
  const own = Object.entries(usage.monthly_usd).map(([provider, usd]) => `The ${provider} subscription costs you ${money(usd)} a month.`);
  return [cost, ...left, ...own].join(" ");
}
