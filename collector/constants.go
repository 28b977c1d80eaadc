// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"encoding/binary"
	"math"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
)

// foldConstants makes a program of one with the constants that it is loaded with: what
// it reads of the map stands in the instructions afterwards, branches on that are
// decided, and what nobody needs then is gone. The verifier knows such constants as
// well, and leaves out what can't be reached; but it leaves all reads of them in, some
// forty instructions a packet.
func foldConstants(program asm.Instructions, constants *ebpf.VariableSpec) asm.Instructions {
	f := &folder{
		program: program, constants: constants,
		place: map[int]int{}, labels: map[string]int{}, states: make([]*registers, len(program)),
	}
	f.run()
	f.rewrite()
	f.dropUnused()
	return f.rest()
}

// known is what is known of a register.
type known struct {
	kind  knownKind
	value uint64 // a number, or a place in the constants' section
}

type knownKind uint8

const (
	knownNothing knownKind = iota
	knownNumber
	knownPlace
)

const registerCount = int(asm.R10) + 1

// registers are what is known before an instruction.
type registers [registerCount]known

type folder struct {
	program   asm.Instructions
	constants *ebpf.VariableSpec
	place     map[int]int    // of an instruction, by its place in raw ones
	raw       []int          // the other way round
	labels    map[string]int // of functions, and of what jumps to names
	states    []*registers   // nil: it can't be reached
	gone      []bool
}

// run finds what is known before each instruction.
func (f *folder) run() {
	f.gone = make([]bool, len(f.program))
	raw := 0
	var work []int
	for i := range f.program {
		ins := &f.program[i]
		f.place[raw] = i
		f.raw = append(f.raw, raw)
		raw += int(ins.Width())
		if ins.Symbol() != "" {
			f.labels[ins.Symbol()] = i
		}
	}
	if f.reach(0, &registers{}) {
		work = append(work, 0)
	}
	for len(work) > 0 {
		i := work[len(work)-1]
		work = work[:len(work)-1]
		after := *f.states[i]
		after.apply(f, &f.program[i])
		for _, next := range f.next(i) {
			if f.reach(next, &after) {
				work = append(work, next)
			}
		}
		// Of the arguments of a function nothing is known.
		if ins := &f.program[i]; ins.IsFunctionReference() {
			if function, there := f.labels[ins.Reference()]; there && f.reach(function, &registers{}) {
				work = append(work, function)
			}
		}
	}
}

// reach notes that an instruction may come next, and tells whether less is known before
// it than was.
func (f *folder) reach(i int, with *registers) bool {
	if i >= len(f.program) {
		return false
	}
	if f.states[i] == nil {
		state := *with
		f.states[i] = &state
		return true
	}
	changed := false
	for r, k := range with {
		if have := &f.states[i][r]; have.kind != knownNothing && *have != k {
			*have, changed = known{}, true
		}
	}
	return changed
}

// next are the instructions that may come behind one.
func (f *folder) next(i int) []int {
	ins := &f.program[i]
	op := ins.OpCode
	switch {
	case !op.Class().IsJump() || op.JumpOp() == asm.Call:
		return []int{i + 1}
	case op.JumpOp() == asm.Exit:
		return nil
	case op.JumpOp() == asm.Ja:
		return []int{f.target(i)}
	}
	switch taken, decided := f.decide(i); {
	case !decided:
		return []int{i + 1, f.target(i)}
	case taken:
		return []int{f.target(i)}
	default:
		return []int{i + 1}
	}
}

// target is where a jump goes.
func (f *folder) target(i int) int {
	ins := &f.program[i]
	if to, named := f.labels[ins.Reference()]; named {
		return to
	}
	offset := int(ins.Offset)
	if ins.OpCode.Class() == asm.Jump32Class && ins.OpCode.JumpOp() == asm.Ja {
		offset = int(int32(ins.Constant))
	}
	return f.place[f.raw[i]+1+offset]
}

// decide tells whether a branch is taken, if that is known.
func (f *folder) decide(i int) (taken, decided bool) {
	ins := &f.program[i]
	a := f.states[i][ins.Dst]
	b := known{knownNumber, uint64(ins.Constant)}
	if ins.OpCode.Source() == asm.RegSource {
		b = f.states[i][ins.Src]
	}
	if a.kind != knownNumber || b.kind != knownNumber {
		return false, false
	}
	x, y := a.value, b.value
	sx, sy := int64(x), int64(y)
	if ins.OpCode.Class() == asm.Jump32Class {
		x, y, sx, sy = uint64(uint32(x)), uint64(uint32(y)), int64(int32(x)), int64(int32(y))
	}
	switch ins.OpCode.JumpOp() {
	case asm.JEq:
		return x == y, true
	case asm.JNE:
		return x != y, true
	case asm.JGT:
		return x > y, true
	case asm.JGE:
		return x >= y, true
	case asm.JLT:
		return x < y, true
	case asm.JLE:
		return x <= y, true
	case asm.JSet:
		return x&y != 0, true
	case asm.JSGT:
		return sx > sy, true
	case asm.JSGE:
		return sx >= sy, true
	case asm.JSLT:
		return sx < sy, true
	case asm.JSLE:
		return sx <= sy, true
	}
	return false, false
}

// apply makes of what is known before an instruction what is known behind it.
func (r *registers) apply(f *folder, ins *asm.Instruction) {
	switch op := ins.OpCode; {
	case op.Class().IsJump():
		if op.JumpOp() == asm.Call {
			for i := asm.R0; i <= asm.R5; i++ {
				r[i] = known{}
			}
		}
	case op.Class().IsALU():
		r[ins.Dst] = r.compute(ins)
	case op.IsDWordLoad():
		r[ins.Dst] = known{}
		if ins.Src == asm.PseudoMapValue && ins.Reference() == f.constants.SectionName {
			r[ins.Dst] = known{knownPlace, uint64(ins.Constant) >> 32}
		}
	case op.Class().IsLoad():
		v, ok := f.read(r, ins) // by a pointer that may stand in the same register
		r[ins.Dst] = known{}
		if ok {
			r[ins.Dst] = known{knownNumber, v}
		} else if op.Mode() != asm.MemMode && op.Mode() != asm.MemSXMode {
			*r = registers{} // of packets, by calls
		}
	case op.Class() == asm.StXClass && op.Mode() == asm.AtomicMode:
		r[ins.Src], r[asm.R0] = known{}, known{}
	}
}

// read returns what a load reads of the constants.
func (f *folder) read(r *registers, ins *asm.Instruction) (uint64, bool) {
	from := r[ins.Src]
	if from.kind != knownPlace || btf.CORERelocationMetadata(ins) != nil || ins.OpCode.Mode() != asm.MemMode {
		return 0, false
	}
	at := int64(from.value) + int64(ins.Offset) - int64(f.constants.Offset)
	size := int64(ins.OpCode.Size().Sizeof())
	if at < 0 || at+size > int64(len(f.constants.Value)) {
		return 0, false
	}
	var number [8]byte
	copy(number[:], f.constants.Value[at:at+size])
	return binary.LittleEndian.Uint64(number[:]), true
}

// compute is what an arithmetic instruction gives.
func (r *registers) compute(ins *asm.Instruction) known {
	op := ins.OpCode
	b := known{knownNumber, uint64(ins.Constant)}
	if op.Source() == asm.RegSource {
		b = r[ins.Src]
	}
	a := r[ins.Dst]
	wide := op.Class() == asm.ALU64Class
	switch {
	case ins.Offset != 0: // signed variants
		return known{}
	case op.ALUOp() == asm.Mov && (wide || b.kind == knownNumber):
		a = b
	case wide && op.ALUOp() == asm.Add && a.kind == knownPlace && b.kind == knownNumber:
		a.value += b.value
	case a.kind != knownNumber || b.kind != knownNumber:
		return known{}
	default:
		v, ok := combine(op.ALUOp(), a.value, b.value, wide)
		if !ok {
			return known{}
		}
		a.value = v
	}
	if !wide {
		a.value = uint64(uint32(a.value))
	}
	return a
}

func combine(op asm.ALUOp, a, b uint64, wide bool) (uint64, bool) {
	bits := uint64(63)
	if !wide {
		a, b, bits = uint64(uint32(a)), uint64(uint32(b)), 31
	}
	switch op {
	case asm.Add:
		return a + b, true
	case asm.Sub:
		return a - b, true
	case asm.Mul:
		return a * b, true
	case asm.And:
		return a & b, true
	case asm.Or:
		return a | b, true
	case asm.Xor:
		return a ^ b, true
	case asm.LSh:
		return a << (b & bits), true
	case asm.RSh:
		return a >> (b & bits), true
	}
	return 0, false
}

// rewrite puts numbers in the place of reads, and jumps in the place of branches that
// are decided.
func (f *folder) rewrite() {
	for i := range f.program {
		if f.states[i] == nil {
			continue
		}
		ins := &f.program[i]
		switch op := ins.OpCode; {
		case op.Class().IsLoad() && !op.IsDWordLoad():
			if v, ok := f.read(f.states[i], ins); ok && v <= math.MaxUint32 {
				*ins = asm.Mov.Imm32(ins.Dst, int32(v)).WithMetadata(ins.Metadata)
			}
		case op.Class().IsALU():
			if k := f.states[i].compute(ins); k.kind == knownNumber && k.value <= math.MaxUint32 {
				*ins = asm.Mov.Imm32(ins.Dst, int32(k.value)).WithMetadata(ins.Metadata)
			}
		case op.Class().IsJump() && op.JumpOp() != asm.Call && op.JumpOp() != asm.Exit && op.JumpOp() != asm.Ja:
			if taken, decided := f.decide(i); decided && taken {
				ins.OpCode, ins.Dst, ins.Src, ins.Constant = asm.Ja.Op(asm.ImmSource), 0, 0, 0
			} else if decided && ins.Symbol() == "" {
				f.gone[i] = true
			}
		}
	}
}

// dropUnused takes out what computes what nobody needs.
func (f *folder) dropUnused() {
	needed := make([]uint16, len(f.program)+1) // registers, behind an instruction
	for changed := true; changed; {
		changed = false
		for i := len(f.program) - 1; i >= 0; i-- {
			if f.states[i] == nil {
				continue
			}
			behind := uint16(0)
			for _, next := range f.following(i) {
				if next < len(f.program) {
					behind |= f.before(next, needed[next])
				}
			}
			if behind != needed[i] {
				needed[i], changed = behind, true
			}
		}
	}
	for i := range f.program {
		if f.states[i] != nil && f.isPure(i) && f.program[i].Symbol() == "" && needed[i]&(1<<f.program[i].Dst) == 0 {
			f.gone[i] = true
		}
	}
}

// following is next, of what has been rewritten.
func (f *folder) following(i int) []int {
	if f.gone[i] {
		return []int{i + 1}
	}
	return f.next(i)
}

// before are the registers that are needed before an instruction, given those that are
// behind it.
func (f *folder) before(i int, behind uint16) uint16 {
	ins := &f.program[i]
	op := ins.OpCode
	bit := func(r asm.Register) uint16 { return 1 << r }
	const arguments = 1<<asm.R1 | 1<<asm.R2 | 1<<asm.R3 | 1<<asm.R4 | 1<<asm.R5
	switch {
	case f.gone[i]:
		return behind
	case f.isPure(i) && behind&bit(ins.Dst) == 0:
		return behind
	case op.Class().IsJump():
		switch op.JumpOp() {
		case asm.Call:
			return behind&^(arguments|bit(asm.R0)) | arguments
		case asm.Exit:
			return bit(asm.R0)
		case asm.Ja:
			return behind
		}
		behind |= bit(ins.Dst)
		if op.Source() == asm.RegSource {
			behind |= bit(ins.Src)
		}
		return behind
	case op.IsDWordLoad():
		return behind &^ bit(ins.Dst)
	case op.Class().IsLoad():
		if op.Mode() != asm.MemMode && op.Mode() != asm.MemSXMode {
			return math.MaxUint16
		}
		return behind&^bit(ins.Dst) | bit(ins.Src)
	case op.Class().IsALU():
		if op.ALUOp() == asm.Mov {
			behind &^= bit(ins.Dst)
		} else {
			behind |= bit(ins.Dst)
		}
		if op.Source() == asm.RegSource && op.ALUOp() != asm.Swap {
			behind |= bit(ins.Src)
		}
		return behind
	case op.Class() == asm.StClass:
		return behind | bit(ins.Dst)
	default: // a store of a register; atomic ones may use R0
		return behind | bit(ins.Dst) | bit(ins.Src) | bit(asm.R0)
	}
}

// isPure tells whether an instruction does nothing but to set its register.
func (f *folder) isPure(i int) bool {
	ins := &f.program[i]
	op := ins.OpCode
	if btf.CORERelocationMetadata(ins) != nil || ins.IsFunctionReference() {
		return false
	}
	return op.Class().IsALU() || op.IsDWordLoad() ||
		op.Class().IsLoad() && (op.Mode() == asm.MemMode || op.Mode() == asm.MemSXMode)
}

// rest is what can be reached and is not gone.
func (f *folder) rest() asm.Instructions {
	place := make([]int, len(f.program)+1) // in raw ones, of an instruction or what follows it
	raw := 0
	keeps := func(i int) bool { return f.states[i] != nil && !f.gone[i] }
	for i := range f.program {
		place[i] = raw
		if keeps(i) {
			raw += int(f.program[i].Width())
		}
	}
	var rest asm.Instructions
	for i, ins := range f.program {
		if !keeps(i) {
			continue
		}
		if op := ins.OpCode; op.Class().IsJump() && op.JumpOp() != asm.Call && op.JumpOp() != asm.Exit && ins.Reference() == "" {
			offset := place[f.target(i)] - place[i] - 1
			if op.Class() == asm.Jump32Class && op.JumpOp() == asm.Ja {
				ins.Constant = int64(offset)
			} else {
				ins.Offset = int16(offset)
			}
		}
		rest = append(rest, ins)
	}
	return rest
}
