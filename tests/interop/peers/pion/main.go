// pion/ice as a peer: see ../__init__.py for the lines that it speaks.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/stun/v4"
	"golang.org/x/sys/unix"
)

const greetingInterval = 20 * time.Millisecond

type server struct {
	Kind     string
	IP       string
	Port     int
	User     string
	Password string
}

type command struct {
	Do          string
	Controlling bool
	Servers     []server
	Policy      string
	Ufrag       string
	Pwd         string
	Line        string
	Text        string
}

type peer struct {
	mutex       sync.Mutex
	agent       *ice.Agent
	controlling bool
	conn        *ice.Conn
	waiting     []string
	greeting    string
	cpuFrom     float64
}

func main() {
	p := &peer{}
	tell("ready", true)
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var c command
		must(json.Unmarshal(lines.Bytes(), &c))
		if c.Do == "close" {
			break
		}
		p.hear(c)
	}
	if p.agent != nil {
		_ = p.agent.Close()
	}
}

func (p *peer) hear(c command) {
	switch c.Do {
	case "gather":
		p.cpuFrom = cpu()
		p.gather(c)
	case "remote":
		go p.connect(c.Ufrag, c.Pwd)
	case "candidate":
		candidate, err := ice.UnmarshalCandidate(c.Line)
		must(err)
		must(p.agent.AddRemoteCandidate(candidate))
	case "end": // pion has no use for it
	case "send":
		p.mutex.Lock()
		defer p.mutex.Unlock()
		if p.conn == nil {
			p.waiting = append(p.waiting, c.Text)
		} else {
			p.write(c.Text)
		}
	case "greet":
		p.mutex.Lock()
		defer p.mutex.Unlock()
		p.greeting = c.Text
		if p.conn != nil {
			go p.greet()
		}
	case "hush":
		p.mutex.Lock()
		defer p.mutex.Unlock()
		p.greeting = ""
	case "cpu":
		tell("cpu", cpu()-p.cpuFrom)
	default:
		panic("no command is called " + c.Do)
	}
}

func (p *peer) gather(c command) {
	urls := []*stun.URI{}
	for _, s := range c.Servers {
		scheme := stun.SchemeTypeSTUN
		if s.Kind == "turn" {
			scheme = stun.SchemeTypeTURN
		}
		urls = append(urls, &stun.URI{
			Scheme: scheme, Host: s.IP, Port: s.Port, Username: s.User, Password: s.Password, Proto: stun.ProtoTypeUDP,
		})
	}
	// Without network types pion gathers no host candidates.
	types := []ice.NetworkType{ice.NetworkTypeUDP4, ice.NetworkTypeUDP6}
	options := []ice.AgentOption{ice.WithUrls(urls), ice.WithNetworkTypes(types)}
	if c.Policy == "relay" {
		options = append(options, ice.WithCandidateTypes([]ice.CandidateType{ice.CandidateTypeRelay}))
	}
	agent, err := ice.NewAgentWithOptions(options...)
	must(err)
	p.agent, p.controlling = agent, c.Controlling
	must(agent.OnCandidate(func(candidate ice.Candidate) {
		if candidate == nil {
			tell("end", true)
		} else {
			tell("candidate", candidate.Marshal())
		}
	}))
	must(agent.OnSelectedCandidatePairChange(func(local, remote ice.Candidate) {
		tell("selected", map[string]any{
			"local":  []any{local.Address(), local.Port()},
			"remote": []any{remote.Address(), remote.Port()},
			"types":  []string{local.Type().String(), remote.Type().String()},
		})
	}))
	must(agent.OnConnectionStateChange(func(state ice.ConnectionState) {
		if state == ice.ConnectionStateFailed {
			tell("failed", "pion says no more than that")
		}
	}))
	ufrag, pwd, err := agent.GetLocalUserCredentials()
	must(err)
	tell("credentials", map[string]string{"ufrag": ufrag, "pwd": pwd})
	must(agent.GatherCandidates())
}

func (p *peer) connect(ufrag, pwd string) {
	join := p.agent.Accept
	if p.controlling {
		join = p.agent.Dial
	}
	conn, err := join(context.Background(), ufrag, pwd)
	if err != nil {
		return // closed before it was connected
	}
	p.mutex.Lock()
	p.conn = conn
	tell("usable", true)
	for _, text := range p.waiting {
		p.write(text)
	}
	if p.greeting != "" {
		go p.greet()
	}
	p.mutex.Unlock()
	p.listen()
}

func (p *peer) listen() {
	known := map[string]bool{}
	buffer := make([]byte, 2048)
	for {
		n, err := p.conn.Read(buffer)
		if err != nil {
			return
		}
		if text := string(buffer[:n]); !known[text] {
			known[text] = true
			tell("heard", text)
		}
	}
}

func (p *peer) greet() {
	for {
		p.mutex.Lock()
		text := p.greeting
		if text != "" {
			p.write(text)
		}
		p.mutex.Unlock()
		if text == "" {
			return
		}
		time.Sleep(greetingInterval)
	}
}

// A datagram that cannot be sent is lost like any other.
func (p *peer) write(text string) {
	_, _ = p.conn.Write([]byte(text))
}

var tongue sync.Mutex

func tell(key string, value any) {
	var now unix.Timespec
	must(unix.ClockGettime(unix.CLOCK_MONOTONIC, &now))
	line, err := json.Marshal(map[string]any{"at": float64(now.Nano()) / 1e9, key: value})
	must(err)
	tongue.Lock()
	defer tongue.Unlock()
	fmt.Println(string(line))
}

func cpu() float64 {
	var usage syscall.Rusage
	must(syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return float64(usage.Utime.Nano()+usage.Stime.Nano()) / 1e9
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
