// The tab Live: microphone -> worklet -> socket -> server, and back to the loudspeakers.
(() => {
  const WORKLET = `
registerProcessor("live-voice", class extends AudioWorkletProcessor {
  // Collects what the microphone gives; plays what comes back, silence where there is nothing.
  constructor({ processorOptions }) {
    super();
    this.piece = new Float32Array(processorOptions.piece);
    this.filled = 0;
    this.reserve = processorOptions.reserve;
    this.waiting = [];
    this.count = 0;
    this.isPlaying = false;
    this.port.onmessage = ({ data }) => this.put(data);
  }
  put(block) {
    if (!this.isPlaying) {
      this.waiting = [new Float32Array(this.reserve)];
      this.count = this.reserve;
      this.isPlaying = true;
    }
    this.waiting.push(block);
    this.count += block.length;
    if (this.count > 2 * block.length + this.reserve) {
      this.count -= this.waiting.shift().length;
      this.port.postMessage("drop-out");
    }
  }
  play(channel) {
    let filled = 0;
    while (filled < channel.length && this.waiting.length) {
      const part = this.waiting[0].subarray(0, channel.length - filled);
      channel.set(part, filled);
      filled += part.length;
      this.waiting[0] = this.waiting[0].subarray(part.length);
      if (!this.waiting[0].length) this.waiting.shift();
    }
    this.count -= filled;
    if (filled < channel.length) {
      this.isPlaying = false;
      this.port.postMessage("drop-out");
    }
  }
  process([input], [output]) {
    if (this.isPlaying) this.play(output[0]);
    for (const channel of output.slice(1)) channel.set(output[0]);
    const heard = input[0] ?? new Float32Array(output[0].length);
    for (const sample of heard) {
      this.piece[this.filled++] = sample;
      if (this.filled === this.piece.length) {
        this.port.postMessage(this.piece.slice());
        this.filled = 0;
      }
    }
    return true;
  }
});`;
  const RESERVE_SECONDS = 0.05;
  const PIECES_PER_SECOND = 100;
  let session = null;

  const board = () => document.querySelector(".live-board");
  const words = () => JSON.parse(board().dataset.words);
  const write = (name, text) => { board().querySelector(`[data-live=${name}]`).textContent = text; };
  const tell = (key, state) => {
    board().dataset.state = state;
    write("state", words()[key] ?? key);
  };
  const nested = (pairs) => {
    const settings = {};
    for (const [path, value] of pairs) {
      const names = path.split("."), last = names.pop();
      names.reduce((part, name) => (part[name] ??= {}), settings)[last] = value;
    }
    return settings;
  };

  async function open(wish) {
    const own = { dropOuts: 0, skipped: 0 };
    own.media = await navigator.mediaDevices.getUserMedia({
      audio: { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false },
    });
    own.context = new AudioContext({ latencyHint: "interactive" });
    const url = URL.createObjectURL(new Blob([WORKLET], { type: "text/javascript" }));
    await own.context.audioWorklet.addModule(url);
    URL.revokeObjectURL(url);
    const rate = own.context.sampleRate;
    own.node = new AudioWorkletNode(own.context, "live-voice", {
      outputChannelCount: [2],
      processorOptions: { piece: rate / PIECES_PER_SECOND, reserve: Math.round(RESERVE_SECONDS * rate) },
    });
    // Behind a proxy the page is served below a path, which Gradio knows.
    const root = new URL(window.gradio_config.root || "/", location.href).pathname.replace(/\/$/, "");
    own.socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}${root}/live/socket`);
    own.socket.binaryType = "arraybuffer";
    own.node.port.onmessage = ({ data }) => {
      if (data === "drop-out") own.dropOuts += 1;
      else if (own.isReady && own.socket.readyState === WebSocket.OPEN) own.socket.send(data.buffer);
    };
    own.socket.onopen = () => own.socket.send(JSON.stringify({ ...wish, rate }));
    own.socket.onmessage = ({ data }) => (typeof data === "string" ? hear(own, JSON.parse(data)) : own.node.port.postMessage(new Float32Array(data)));
    own.socket.onclose = () => end(own);
    own.context.createMediaStreamSource(own.media).connect(own.node).connect(own.context.destination);
    return own;
  }

  function hear(own, said) {
    if (said.ready) {
      own.isReady = true;
      tell("running", "running");
    }
    if (said.figures) {
      const reserve = 1000 * (RESERVE_SECONDS + (own.context.outputLatency || 0) + own.context.baseLatency);
      write("delay", `${Math.round(said.figures.delay_ms + reserve)} ms`);
      write("load", `${Math.round(100 * said.figures.load)} %`);
      write("drop-outs", said.figures.skipped + own.dropOuts);
    }
    if (said.error || said.refused) {
      own.problem = said.error;
      tell(said.error ?? said.refused, said.error ? "failed" : "running");
    }
    if (said.recorded) {
      const link = document.createElement("a");
      Object.assign(link, { href: said.recorded.url, download: said.recorded.name, textContent: said.recorded.name });
      board().querySelector("[data-live=recorded]").replaceChildren(link);
    }
  }

  function end(own) {
    own.media?.getTracks().forEach((track) => track.stop());
    own.context?.close();
    if (session !== own) return;
    session = null;
    if (!own.problem) tell("stopped", "stopped");
  }

  window.urvcLive = {
    async start(voice, record, paths, values) {
      if (session) return;
      if (!navigator.mediaDevices || !window.AudioWorkletNode) return tell("insecure", "failed");
      session = {};
      tell("opening", "opening");
      write("recorded", "");
      const settings = nested(paths.map((path, place) => [path, values[place]]));
      const language = board().dataset.language;
      try {
        session = await open({ voice, record, settings, language });
      } catch (error) {
        session = null;
        tell(error.name === "NotAllowedError" ? "denied" : "no_microphone", "failed");
      }
    },
    change(name, value) {
      if (session?.socket?.readyState === WebSocket.OPEN) session.socket.send(JSON.stringify({ change: { [name]: value } }));
    },
    stop() {
      if (!session?.socket) return;
      if (session.socket.readyState === WebSocket.OPEN) session.socket.send(JSON.stringify({ stop: true }));
      else session.socket.close();
    },
  };
})();
