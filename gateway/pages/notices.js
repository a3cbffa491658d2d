// Notices as sentences: alerts, and agents that wait or are done. One text for the dashboard and the page on a phone.

const DOES = { done: "is done", failed: "has failed" };

export function noticeText(data) {
  if (data.type === "alert") return data.text ? `${data.title}. ${data.text}` : `${data.title}.`;
  const where = [data.machine, data.folder].filter(Boolean).join(", ");
  return `${data.program || "An agent"} ${DOES[data.kind] ?? "waits for you"}${where && ` (${where})`}`;
}
