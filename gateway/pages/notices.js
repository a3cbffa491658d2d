// Notices as sentences: alerts, and agents that wait or are done. One text for the dashboard and the page on a phone.

export function noticeText(data) {
  if (data.type === "alert") return data.text ? `${data.title}. ${data.text}` : `${data.title}.`;
  const where = [data.machine, data.folder].filter(Boolean).join(", ");
  return `${data.program || "An agent"} ${data.kind === "done" ? "is done" : "waits for you"}${where && ` (${where})`}`;
}
