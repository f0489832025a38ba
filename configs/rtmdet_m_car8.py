# RTMDet-m that detects 'car' in 'data/coco'. Emitted by `posetools config`.
# It runs with the stock tools/train.py and tools/test.py of mmdet; posetools is not needed.
# It lists only what differs from the stock recipe, with the reason:
_base_ = 'mmdet::rtmdet/rtmdet_m_8xb32-300e_coco.py'

# data ---------------------------------------------------------------------------------------------
data_root = 'data/coco'  # relative to the folder in which you start training
# A tuple, with the comma: in a plain string every letter would be a class.
metainfo = dict(classes=('car', ), palette=[(0, 127, 255)])
input_size = (320, 256)  # width, height; multiples of 32: images are 320x240 (median)

# schedule -----------------------------------------------------------------------------------------
max_epochs = 24  # the rest of the schedule depends on it: 6 images, each seen 600 times; 38 iterations each
repeat = 25  # passes over the data per epoch: one pass over 6 images is 2 of 900 iterations
stage2_num_epochs = max_epochs  # 24: light augmentation in all epochs
val_interval = 2  # epochs: a tenth of all, at most 10
batch_size = 4  # on one device: for 6 images: a larger one gives fewer than 12000 iterations
val_batch_size = 4  # as in training, at most 8
num_workers = 8  # processes per loader; use more if cores are free
persistent_workers = num_workers > 0  # torch requires workers for this
# Adam's rate scales with the square root of the batch (Malladi et al., On the SDEs and Scaling Rules for
# Adaptive Gradient Algorithms, 2022).
# Stock is for batches of 256; times sqrt(4/256), at least 0.0005; half of it, as all layers are pretrained.
base_lr = 0.5 * max(0.0005, 0.004 * (batch_size / 256)**0.5)  # 0.00025
# Stock always warms up for 1000 iterations; on a small data set that is most of the run.
iterations = max_epochs * -(-6 * repeat // batch_size)  # 912: 6 images per epoch, 25 times
warmup_iters = min(1000, max(2, iterations // 10))  # 91: a tenth of 912 iterations
# The average of about 46 iterations; there are 912.
ema_momentum = min(0.1, max(0.0002, 20 / iterations))  # 0.022

train_cfg = dict(max_epochs=max_epochs, val_interval=val_interval,
                 dynamic_intervals=None)
optim_wrapper = dict(optimizer=dict(lr=base_lr))
# `--auto-scale-lr` (several GPUs) scales from this batch size.
auto_scale_lr = dict(base_batch_size=batch_size)
param_scheduler = [
    dict(type='LinearLR', start_factor=1.0e-5, by_epoch=False, begin=0, end=warmup_iters),
    dict(  # constant in the first half, then down to a twentieth
        type='CosineAnnealingLR', eta_min=base_lr * 0.05, by_epoch=True, convert_to_iter_based=True,
        begin=max_epochs // 2, end=max_epochs, T_max=max_epochs - max_epochs // 2)
]
default_hooks = dict(checkpoint=dict(
    interval=val_interval, save_best='coco/bbox_mAP', rule='greater'))  # every saved checkpoint is evaluated
randomness = dict(seed=21)  # makes runs reproducible
# Initial weights of the whole model, if shapes match: 12 objects are few to train from scratch; these weights
# know COCO's 80 classes.
load_from = 'https://download.openmmlab.com/mmdetection/v3.0/rtmdet/rtmdet_m_8xb32-300e_coco/rtmdet_m_8xb32-300e_coco_20220719_112220-229f527c.pth'

# model --------------------------------------------------------------------------------------------
# SyncBN cannot run on the CPU in several processes; in a single process mmengine changes it to BN.
norm_cfg = dict(type='BN')
model = dict(
    backbone=dict(norm_cfg=norm_cfg),
    neck=dict(norm_cfg=norm_cfg),
    bbox_head=dict(norm_cfg=norm_cfg, num_classes=1))

# pipelines ----------------------------------------------------------------------------------------
# The stock pipelines at this input size.
# Light augmentation from the first epoch: 900 iterations are too few for mosaic, mixup and large scale changes.
train_pipeline_stage2 = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='RandomResize', scale=input_size, ratio_range=(0.8, 1.25), keep_ratio=True),
    dict(type='RandomCrop', crop_size=input_size),
    dict(type='YOLOXHSVRandomAug'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='Pad', size=input_size, pad_val=dict(img=(114, 114, 114))),
    dict(type='PackDetInputs')
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=input_size, keep_ratio=True),
    dict(type='Pad', size=input_size, pad_val=dict(img=(114, 114, 114))),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(
        type='PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'))
]
tta_scales = [(320, 256), (160, 128), (480, 384)]  # `test.py --tta`: 1, 0.5 and 1.5 times the input size
tta_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='TestTimeAug',
        transforms=[
            [dict(type='Resize', scale=s, keep_ratio=True) for s in tta_scales],
            [dict(type='RandomFlip', prob=1.), dict(type='RandomFlip', prob=0.)],
            [dict(type='Pad', size=tta_scales[-1], pad_val=dict(img=(114, 114, 114)))],
            [dict(type='LoadAnnotations', with_bbox=True)],
            [dict(
                type='PackDetInputs',
                meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor', 'flip',
                           'flip_direction'))]
        ])
]

# loaders and evaluation ---------------------------------------------------------------------------
train_dataloader = dict(
    batch_size=batch_size,
    num_workers=num_workers,
    persistent_workers=persistent_workers,
    dataset=dict(
        _delete_=True,
        type='RepeatDataset',
        times=repeat,
        dataset=dict(
            type='CocoDataset',
            data_root=data_root,
            metainfo=metainfo,
            ann_file='train_coco.json',
            data_prefix=dict(img='images/'),
            filter_cfg=dict(filter_empty_gt=True, min_size=32),
            pipeline=train_pipeline_stage2,
        )
    ))
val_dataloader = dict(
    batch_size=val_batch_size,
    num_workers=num_workers,
    persistent_workers=persistent_workers,
    dataset=dict(
        data_root=data_root,
        metainfo=metainfo,
        ann_file='val_coco.json',
        data_prefix=dict(img='images/'),
        pipeline=test_pipeline,
    ))
test_dataloader = val_dataloader

# All epochs use one pipeline: no PipelineSwitchHook.
custom_hooks = [
    # Stock has gamma 2000: in a short run the average would stay near the initial weights.
    dict(type='EMAHook', ema_type='ExpMomentumEMA', momentum=ema_momentum,
         gamma=min(2000, max(1, iterations // 10)), update_buffers=True, priority=49),
]

val_evaluator = dict(ann_file=f'{data_root}/val_coco.json')
test_evaluator = val_evaluator
