import { useSession } from "holdfast/react";

export function Chat({ sessionId }: { sessionId: string }) {
  const { messages, run, error, submit } = useSession(sessionId);

  async function send(form: FormData) {
    await submit({ inputType: "prompt", text: String(form.get("text")) });
  }

  return (
    <>
      <ol>
        {messages.map(({ role, content, inputId, pending }, at) => (
          <li key={inputId ?? at} data-role={role}>
            {String(content)} {pending && <small>{pending}</small>}
          </li>
        ))}
      </ol>
      {run && <p role="status">thinking</p>}
      {error && <p role="alert">{error}</p>}
      <form action={send}>
        <input name="text" aria-label="Message" required />
        <button type="submit">Send</button>
      </form>
    </>
  );
}
