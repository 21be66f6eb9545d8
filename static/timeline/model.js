export async function openTimeline(sessionId) {}
