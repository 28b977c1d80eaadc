// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"

	"conntap/bpf"
	"conntap/bpf/filter"
)

// filterFunction is the function of bpf/filter.h whose body an expression replaces.
const filterFunction = "filter_frame"

// Registers of the function: a pointer to struct record and the VLAN ids by the
// calling convention, then what many tests look at.
const (
	filterScratch  = asm.R0
	filterRecord   = asm.R1
	filterVLANs    = asm.R2
	filterState    = asm.R3
	filterOther    = asm.R3 // within a part
	filterIPv6     = asm.R4 // 0: IPv4
	filterProtocol = asm.R5
)

// Places in struct record.
const (
	recordState    = int16(unsafe.Offsetof(bpf.RecordHead{}.State))
	recordProtocol = int16(unsafe.Offsetof(bpf.RecordHead{}.Protocol))
	recordSrcPort  = int16(unsafe.Offsetof(bpf.RecordHead{}.SrcPort))
	recordDstPort  = int16(unsafe.Offsetof(bpf.RecordHead{}.DstPort))
	recordIPv4     = int16(unsafe.Sizeof(bpf.RecordHead{}))
	recordSrc4     = recordIPv4 + int16(unsafe.Offsetof(bpf.RecordIPv4{}.Src))
	recordDst4     = recordIPv4 + int16(unsafe.Offsetof(bpf.RecordIPv4{}.Dst))
	recordSrc6     = recordIPv4 + int16(unsafe.Offsetof(bpf.RecordIPv6{}.Src))
	recordDst6     = recordIPv4 + int16(unsafe.Offsetof(bpf.RecordIPv6{}.Dst))
)

// installFilter puts an expression into a program, in place of the body of
// filterFunction.
func installFilter(program *ebpf.ProgramSpec, f *filter.Filter) error {
	body, err := compileFilter(f)
	if err != nil {
		return err
	}
	start, end := -1, len(program.Instructions)
	for i := range program.Instructions {
		switch function := btf.FuncMetadata(&program.Instructions[i]); {
		case function == nil:
		case function.Name == filterFunction:
			start = i
		case start >= 0:
			end = min(end, i)
		}
	}
	if start < 0 {
		return fmt.Errorf("the BPF object has no function %s", filterFunction)
	}
	body[0].Metadata = program.Instructions[start].Metadata // the function's name and type
	instructions := append(asm.Instructions{}, program.Instructions[:start]...)
	program.Instructions = append(append(instructions, body...), program.Instructions[end:]...)
	return nil
}

// compileFilter makes the function's body of an expression: up to three parts, for
// packets, for fragments and for fragments of an unknown protocol, which return
// each by itself.
func compileFilter(f *filter.Filter) (asm.Instructions, error) {
	var c filterCompiler
	begin, reject := c.label(), c.label()
	c.jump(asm.JNE, compare(filterRecord, 0), begin) // for the verifier: the caller has one
	c.place(reject)
	c.emit(asm.Mov.Imm32(filterScratch, 0), asm.Return())
	c.place(begin)
	c.emit(asm.LoadMem(filterState, filterRecord, recordState, asm.Byte),
		asm.Mov.Reg32(filterIPv6, filterState),
		asm.And.Imm32(filterIPv6, int32(bpf.StateIPv6)),
		asm.LoadMem(filterProtocol, filterRecord, recordProtocol, asm.Byte))
	known, extension := c.label(), c.label()
	if f.Fragment() != f.Packet() {
		fragment := c.label()
		c.jump(asm.JSet, compare(filterState, int32(bpf.StateFragment)), fragment)
		c.part(f.Packet())
		c.place(fragment)
	}
	if f.Extension() != f.Fragment() {
		c.emit(asm.And.Imm32(filterState, int32(bpf.StateFragment)))
		c.jump(asm.JEq, compare(filterState, 0), known)
		c.jump(asm.JEq, compare(filterIPv6, 0), known)
		for _, protocol := range filter.ExtensionProtocols {
			c.jump(asm.JEq, compare(filterProtocol, int32(protocol)), extension)
		}
	}
	c.place(known)
	c.part(f.Fragment())
	c.place(extension)
	if f.Extension() != f.Fragment() {
		c.part(f.Extension())
	}
	return c.link()
}

// filterLabel is a place to jump to: an index into filterCompiler.places.
type filterLabel int

// filterCompiler collects instructions. All jumps go forward.
type filterCompiler struct {
	code   asm.Instructions
	places []int // of labels
	jumps  []filterJump
}

type filterJump struct {
	from int
	to   filterLabel
}

func (c *filterCompiler) emit(instructions ...asm.Instruction) {
	c.code = append(c.code, instructions...)
}

func (c *filterCompiler) label() filterLabel {
	c.places = append(c.places, 0)
	return filterLabel(len(c.places) - 1)
}

func (c *filterCompiler) place(l filterLabel) { c.places[l] = len(c.code) }

// comparison is what a jump looks at: all of two registers, or the lower 32 bits of
// one and a value.
type comparison struct {
	register asm.Register
	value    int32
	wide     bool // with filterOther
}

func compare(register asm.Register, value int32) comparison {
	return comparison{register, value, false}
}

func (c *filterCompiler) jump(op asm.JumpOp, what comparison, to filterLabel) {
	instruction := asm.Instruction{
		OpCode: asm.OpCode(asm.Jump32Class).SetJumpOp(op).SetSource(asm.ImmSource), Dst: what.register, Constant: int64(what.value),
	}
	switch {
	case op == asm.Ja, what.register == filterRecord: // pointers are compared as a whole
		instruction.OpCode = op.Op(asm.ImmSource)
	case what.wide:
		instruction = asm.Instruction{OpCode: op.Op(asm.RegSource), Dst: what.register, Src: filterOther}
	}
	c.jumps = append(c.jumps, filterJump{len(c.code), to})
	c.emit(instruction)
}

// link leaves out what is never reached, which the verifier refuses, and fills in
// the distances of the jumps.
func (c *filterCompiler) link() (asm.Instructions, error) {
	target := make([]int, len(c.code)) // 0: none
	for _, j := range c.jumps {
		target[j.from] = c.places[j.to]
	}
	var linked asm.Instructions
	index := make([]int, len(c.code))      // in linked
	offset := make([]uint64, len(c.code))  // there, in the kernel's units; the next one's of what is not
	reached := make([]bool, len(c.code)+1) // all jumps go forward
	reached[0] = true
	end := uint64(0)
	for i, instruction := range c.code {
		index[i], offset[i] = len(linked), end
		if !reached[i] {
			continue
		}
		linked = append(linked, instruction)
		end += instruction.Size() / asm.InstructionSize
		if op := instruction.OpCode.JumpOp(); op != asm.Exit && op != asm.Ja {
			reached[i+1] = true
		}
		if target[i] != 0 {
			reached[target[i]] = true
		}
	}
	for i, to := range target {
		if !reached[i] || to == 0 {
			continue
		}
		distance := offset[to] - offset[i] - 1
		if distance > math.MaxInt16 {
			return nil, fmt.Errorf("too long a filter for the kernel: %d instructions; nets and portranges hold many "+
				"addresses and ports", end)
		}
		linked[index[i]].Offset = int16(distance)
	}
	return linked, nil
}

// part returns 1 if n is true, else 0.
func (c *filterCompiler) part(n *filter.Node) {
	pass, reject := c.label(), c.label()
	c.node(n, pass, reject, pass)
	c.place(pass)
	c.emit(asm.Mov.Imm32(filterScratch, 1), asm.Return())
	c.place(reject)
	c.emit(asm.Mov.Imm32(filterScratch, 0), asm.Return())
}

// node goes to yes or no, one of which is next: what stands right behind.
func (c *filterCompiler) node(n *filter.Node, yes, no, next filterLabel) {
	switch n.Op {
	case filter.True:
		c.goTo(yes, next)
	case filter.False:
		c.goTo(no, next)
	case filter.Not:
		c.node(n.Left, no, yes, next)
	case filter.And:
		right := c.label()
		c.node(n.Left, right, no, right)
		c.place(right)
		c.node(n.Right, yes, no, next)
	case filter.Or:
		right := c.label()
		c.node(n.Left, yes, right, right)
		c.place(right)
		c.node(n.Right, yes, no, next)
	case filter.Test:
		c.test(n, yes, no, next)
	}
}

func (c *filterCompiler) goTo(to, next filterLabel) {
	if to != next {
		c.jump(asm.Ja, comparison{}, to)
	}
}

func (c *filterCompiler) test(n *filter.Node, yes, no, next filterLabel) {
	switch n.Field {
	case filter.Src, filter.Dst:
		if n.IPv6 {
			c.address(n, recordSrc6, recordDst6, yes, no, next)
		} else {
			c.address(n, recordSrc4, recordDst4, yes, no, next)
		}
	case filter.Version:
		c.version(n.Low == 6, yes, no, next)
	case filter.Protocol:
		c.value(filterProtocol, n, yes, no, next)
	case filter.SrcPort:
		c.port(n, recordSrcPort, yes, no, next)
	case filter.DstPort:
		c.port(n, recordDstPort, yes, no, next)
	case filter.VLAN:
		c.emit(asm.Mov.Reg32(filterScratch, filterVLANs), asm.And.Imm32(filterScratch, math.MaxUint16))
		c.value(filterScratch, n, yes, no, next)
	case filter.InnerVLAN:
		c.emit(asm.Mov.Reg32(filterScratch, filterVLANs), asm.RSh.Imm32(filterScratch, 16))
		c.value(filterScratch, n, yes, no, next)
	}
}

// branch ends a test by one jump: yes if op holds, else no; inverse is op's opposite.
func (c *filterCompiler) branch(op, inverse asm.JumpOp, what comparison, yes, no, next filterLabel) {
	if next == yes {
		c.jump(inverse, what, no)
		return
	}
	c.jump(op, what, yes)
	c.goTo(no, next)
}

// version tests the version of IP. Where it goes on, the verifier knows the
// register's value, and does not follow what contradicts it.
func (c *filterCompiler) version(ipv6 bool, yes, no, next filterLabel) {
	value := int32(0)
	if ipv6 {
		value = int32(bpf.StateIPv6)
	}
	c.branch(asm.JEq, asm.JNE, compare(filterIPv6, value), yes, no, next)
}

// value tests a number from Low to High.
func (c *filterCompiler) value(register asm.Register, n *filter.Node, yes, no, next filterLabel) {
	if n.Low == n.High {
		c.branch(asm.JEq, asm.JNE, compare(register, int32(n.Low)), yes, no, next)
		return
	}
	if n.Low > 0 {
		c.jump(asm.JLT, compare(register, int32(n.Low)), no)
	}
	c.branch(asm.JLE, asm.JGT, compare(register, int32(n.High)), yes, no, next)
}

// port tests a port, of which one value is compared as it stands in the record. What
// has no ports has zeros there.
func (c *filterCompiler) port(n *filter.Node, place int16, yes, no, next filterLabel) {
	if n.Low == 0 {
		test := c.label()
		c.jump(asm.JEq, compare(filterProtocol, bpf.ProtocolTCP), test)
		c.jump(asm.JNE, compare(filterProtocol, bpf.ProtocolUDP), no)
		c.place(test)
	}
	c.emit(asm.LoadMem(filterScratch, filterRecord, place, asm.Half))
	if n.Low == n.High {
		value := int32(bits.ReverseBytes16(n.Low))
		c.branch(asm.JEq, asm.JNE, compare(filterScratch, value), yes, no, next)
		return
	}
	c.emit(asm.HostTo(asm.BE, filterScratch, asm.Half))
	c.value(filterScratch, n, yes, no, next)
}

// address tests an address in words, the last one first: it is most likely to
// differ.
func (c *filterCompiler) address(n *filter.Node, src, dst int16, yes, no, next filterLabel) {
	base := src
	if n.Field == filter.Dst {
		base = dst
	}
	test := c.label()
	c.version(n.IPv6, test, no, test)
	c.place(test)
	var words []addressWord
	if n.IPv6 {
		words = append(wordsOf(n, 8), wordsOf(n, 0)...)
	} else {
		base -= 12 // Network and Mask begin with what is not compared
		words = wordsOf(n, 8)
	}
	if len(words) == 0 {
		c.goTo(yes, next)
	}
	for i, w := range words {
		what := c.load(base, w)
		if i < len(words)-1 {
			c.jump(asm.JNE, what, no)
			continue
		}
		c.branch(asm.JEq, asm.JNE, what, yes, no, next)
	}
}

// addressWord is 4 or 8 bytes of an address that are compared at a time.
type addressWord struct {
	at          int
	size        asm.Size
	mask, value uint64
}

// wordsOf are the words to compare of 8 bytes of an address: none, one of 4 bytes if
// that is all that the mask has, or one of 8.
func wordsOf(n *filter.Node, at int) []addressWord {
	mask, value := binary.LittleEndian.Uint64(n.Mask[at:]), binary.LittleEndian.Uint64(n.Network[at:])
	switch {
	case mask == 0:
		return nil
	case mask>>32 == 0:
		return []addressWord{{at, asm.Word, mask, value}}
	case mask&math.MaxUint32 == 0:
		return []addressWord{{at + 4, asm.Word, mask >> 32, value >> 32}}
	}
	return []addressWord{{at, asm.DWord, mask, value}}
}

// load loads a word, masked, and says what it is to be compared with.
func (c *filterCompiler) load(base int16, w addressWord) comparison {
	c.emit(asm.LoadMem(filterScratch, filterRecord, base+int16(w.at), w.size))
	if w.size == asm.Word {
		if w.mask != math.MaxUint32 {
			c.emit(asm.And.Imm32(filterScratch, int32(w.mask)))
		}
		return compare(filterScratch, int32(w.value))
	}
	if w.mask != math.MaxUint64 {
		c.emit(asm.LoadImm(filterOther, int64(w.mask), asm.DWord), asm.And.Reg(filterScratch, filterOther))
	}
	c.emit(asm.LoadImm(filterOther, int64(w.value), asm.DWord))
	return comparison{register: filterScratch, wide: true}
}
