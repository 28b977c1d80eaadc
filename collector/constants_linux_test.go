// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// testConstants are 16 bytes at 8 of their section: 1, 0, and 0xfffffffe.
func testConstants() *ebpf.VariableSpec {
	v := &ebpf.VariableSpec{Name: "config", SectionName: ".rodata", Offset: 8, Value: make([]byte, 16)}
	v.Value[0] = 1
	binary.NativeEndian.PutUint32(v.Value[8:], 0xfffffffe)
	return v
}

// loadConstant reads a constant the way a compiler does.
func loadConstant(pointer, to asm.Register, at int16, size asm.Size) asm.Instructions {
	return asm.Instructions{
		asm.LoadMapValue(pointer, 0, 8).WithReference(".rodata"),
		asm.LoadMem(to, pointer, at, size),
	}
}

func TestFoldConstants(t *testing.T) {
	skip := func(jump asm.Instruction, over int16) asm.Instruction {
		jump.Offset = over
		return jump
	}
	tests := []struct {
		name    string
		program []asm.Instructions
		want    []string
	}{
		{"a branch that is never taken", []asm.Instructions{
			loadConstant(asm.R1, asm.R2, 0, asm.Byte),
			{skip(asm.JEq.Imm(asm.R2, 0, ""), 2), asm.Mov.Imm(asm.R0, 1), asm.Return(), asm.Mov.Imm(asm.R0, 2), asm.Return()},
		}, []string{"MovImm32 dst: r0 imm: 1", "Exit"}},
		{"a branch that is always taken", []asm.Instructions{
			loadConstant(asm.R1, asm.R2, 4, asm.Byte),
			{skip(asm.JEq.Imm(asm.R2, 0, ""), 2), asm.Mov.Imm(asm.R0, 1), asm.Return(), asm.Mov.Imm(asm.R0, 2), asm.Return()},
		}, []string{"Ja off: 0", "MovImm32 dst: r0 imm: 2", "Exit"}},
		{"a number that is wanted", []asm.Instructions{
			loadConstant(asm.R1, asm.R0, 8, asm.Word), {asm.Return()},
		}, []string{"MovImm32 dst: r0 imm: -2", "Exit"}},
		{"by the pointer's own register, and computed with", []asm.Instructions{
			loadConstant(asm.R0, asm.R0, 0, asm.Byte), {asm.Mul.Imm32(asm.R0, 3), asm.Return()},
		}, []string{"MovImm32 dst: r0 imm: 3", "Exit"}},
		{"beyond the constants", []asm.Instructions{
			loadConstant(asm.R1, asm.R0, 16, asm.Byte), {asm.Return()},
		}, []string{"LoadMapValue dst: r1, fd: 0 off: 8 <.rodata>", "LdXMemB dst: r0 src: r1 off: 16 imm: 0", "Exit"}},
		{"two ways to a register", []asm.Instructions{
			{asm.Mov.Imm(asm.R0, 5), skip(asm.JEq.Imm(asm.R1, 0, ""), 1), asm.Mov.Imm(asm.R0, 6)},
			{skip(asm.JEq.Imm(asm.R0, 5, ""), 1), asm.Mov.Imm(asm.R0, 7), asm.Return()},
		}, []string{
			"MovImm32 dst: r0 imm: 5", "JEqImm dst: r1 off: 1 imm: 0", "MovImm32 dst: r0 imm: 6", "JEqImm dst: r0 off: 1 imm: 5",
			"MovImm32 dst: r0 imm: 7", "Exit",
		}},
		{"a jump over what is gone", []asm.Instructions{
			{asm.Mov.Imm(asm.R0, 0), skip(asm.JEq.Imm(asm.R1, 3, ""), 5)},
			loadConstant(asm.R2, asm.R3, 0, asm.Byte),
			{skip(asm.JNE.Imm(asm.R3, 1, ""), 1), asm.Mov.Imm(asm.R0, 9), asm.Return()},
		}, []string{"MovImm32 dst: r0 imm: 0", "JEqImm dst: r1 off: 1 imm: 3", "MovImm32 dst: r0 imm: 9", "Exit"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var program asm.Instructions
			for _, part := range tt.program {
				program = append(program, part...)
			}
			var got []string
			for _, ins := range foldConstants(program, testConstants()) {
				got = append(got, fmt.Sprint(ins))
			}
			if strings.Join(got, "\n") != strings.Join(tt.want, "\n") {
				t.Errorf("want\n%s\ngot\n%s", strings.Join(tt.want, "\n"), strings.Join(got, "\n"))
			}
		})
	}
}

// TestFoldRandom runs random programs in the kernel, as they are and folded: what they
// return is the same.
func TestFoldRandom(t *testing.T) {
	requireBPF(t)
	constants := testConstants()
	section, err := ebpf.NewMap(&ebpf.MapSpec{
		Name: "rodata", Type: ebpf.Array, KeySize: 4, ValueSize: 24, MaxEntries: 1,
		Contents: []ebpf.MapKV{{Key: uint32(0), Value: append(make([]byte, 8), constants.Value...)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer section.Close()
	saved := 0
	for seed := range uint64(300) {
		plain := randomProgram(rand.New(rand.NewPCG(seed, 1)))
		folded := foldConstants(append(asm.Instructions{}, plain...), constants)
		saved += len(plain) - len(folded)
		want, got := runProgram(t, plain, section), runProgram(t, folded, section)
		if want != got {
			t.Fatalf("seed %d: want %d, got %d\n%v\nfolded\n%v", seed, want, got, plain, folded)
		}
	}
	if saved == 0 {
		t.Error("no instruction was folded")
	}
}

func runProgram(t *testing.T, program asm.Instructions, section *ebpf.Map) uint32 {
	t.Helper()
	program = append(asm.Instructions{}, program...)
	for i := range program {
		if ins := &program[i]; ins.IsLoadFromMap() {
			if err := ins.AssociateMap(section); err != nil {
				t.Fatal(err)
			}
		}
	}
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.SchedCLS, Instructions: program, License: "GPL"})
	if err != nil {
		t.Fatalf("%+v\n%v", err, program)
	}
	defer p.Close()
	verdict, err := p.Run(&ebpf.RunOptions{Data: make([]byte, 64)})
	if err != nil {
		t.Fatal(err)
	}
	return verdict
}

// randomProgram computes with constants, numbers and what it can't know, and jumps
// ahead.
func randomProgram(g *rand.Rand) asm.Instructions {
	const length = 40
	register := func() asm.Register { return asm.R0 + asm.Register(g.IntN(6)) }
	program := asm.Instructions{asm.LoadMem(asm.R9, asm.R1, 0, asm.Word).WithSymbol("f")} // skb->len, which the verifier does not know
	for r := asm.R0; r <= asm.R5; r++ {
		program = append(program, asm.Mov.Imm(r, int32(g.IntN(4))))
	}
	arithmetic := []asm.ALUOp{asm.Add, asm.Sub, asm.Mul, asm.And, asm.Or, asm.Xor, asm.Mov, asm.LSh, asm.RSh, asm.ArSh}
	jumps := []asm.JumpOp{asm.JEq, asm.JNE, asm.JGT, asm.JGE, asm.JLT, asm.JLE, asm.JSet, asm.JSGT, asm.JSGE, asm.JSLT, asm.JSLE}
	var raw []int // the place of each instruction
	at := 0
	for len(program) < length {
		op, a, b := arithmetic[g.IntN(len(arithmetic))], register(), register()
		shift := op == asm.LSh || op == asm.RSh || op == asm.ArSh
		switch g.IntN(8) {
		case 0, 1:
			sizes := []asm.Size{asm.Byte, asm.Half, asm.Word, asm.DWord}
			pointer := []asm.Register{asm.R8, a}[g.IntN(2)]
			program = append(program, loadConstant(pointer, a, int16(8*g.IntN(2)), sizes[g.IntN(4)])...)
		case 2:
			program = append(program, asm.Mov.Reg(a, asm.R9))
		case 3:
			if !shift {
				program = append(program, op.Reg(a, b))
			}
		case 4:
			if !shift {
				program = append(program, op.Reg32(a, b))
			}
		case 5:
			program = append(program, op.Imm(a, int32(g.IntN(32))), op.Imm32(b, int32(g.IntN(32))))
		case 6:
			program = append(program, jumps[g.IntN(len(jumps))].Imm(a, int32(g.IntN(4)-1), ""))
		case 7:
			program = append(program, jumps[g.IntN(len(jumps))].Reg32(a, b, ""))
		}
	}
	program = append(program, asm.And.Imm(asm.R0, 0xff), asm.Return())
	for i := range program {
		raw = append(raw, at)
		at += int(program[i].Width())
	}
	for i := range program {
		if op := program[i].OpCode; op.Class().IsJump() && op.JumpOp() != asm.Exit {
			target := i + 1 + g.IntN(len(program)-2-i)
			for program[target-1].IsLoadFromMap() { // its pointer must be there
				target++
			}
			program[i].Offset = int16(raw[target] - raw[i] - 1)
			program[i] = program[i].WithReference("")
		}
	}
	return program
}
